"""Model type "detect": the graph gives boxes in a picture, with a score and a class each; the picture scores as its surest box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.config.types import Model, Share
from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Region, Window

Label = Annotated[str, Field(min_length=1, max_length=64)]
Floats = NDArray[np.floating]


class Config(Model):
    """Keys of `head:` in the card."""

    type: Literal["detect"]
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=1000, description="by the index that the graph gives as class")]
    threshold: Share = Field(default=0.5, description="a box that is less sure is none")
    overlap: Share | None = Field(
        default=0.5, description="of two boxes of a class that overlap more than this only the surer one counts; null: the graph sees to it"
    )
    most: Annotated[int, Field(ge=1, le=1000, description="boxes that are reported, the surest first")] = 20


class Head:
    """Reads `boxes`, `box_scores`, and `box_classes` if there is more than one label."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        if card.picture is None or names.boxes is None or names.box_scores is None:
            raise ModelRefused(f"{card.name}: head detect needs `picture:`, graph.outputs.boxes and graph.outputs.box_scores")
        if len(config.labels) > 1 and names.box_classes is None:
            raise ModelRefused(f"{card.name}: head detect has {len(config.labels)} labels and needs graph.outputs.box_classes")
        self._config, self._window = config, card.graph.window
        self._boxes, self._scores, self._classes = names.boxes, names.box_scores, names.box_classes
        self._size = np.array([card.picture.width, card.picture.height] * 2, dtype=np.float64)

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The picture as it is: [1, C, H, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """The boxes that count, and the surest of all as the score. ValueError for scores and classes that are none."""
        boxes, scores = outputs[self._boxes][0].astype(np.float64) / self._size, outputs[self._scores][0].astype(np.float64)
        classes = self._indices(outputs[self._classes][0]) if self._classes else np.zeros(len(scores), np.int64)
        if scores.size and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
            raise ValueError(f"box scores from {scores.min():.3g} to {scores.max():.3g}; 0 to 1 are wanted")
        regions = tuple(self._region(boxes[i], scores[i], classes[i]) for i in self._kept(boxes, scores, classes))
        raw = float(min(max(scores.max(initial=0.0), 0.0), 1.0))
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=raw,
            raw=raw,
            confidence=max(raw, 1.0 - raw),
            label=regions[0].label if regions else None,
            regions=regions,
        )

    def _indices(self, classes: Floats) -> NDArray[np.int64]:
        found = np.rint(classes).astype(np.int64)
        if ((found < 0) | (found >= len(self._config.labels))).any():
            raise ValueError(f"box classes from {found.min()} to {found.max()}; there are {len(self._config.labels)} labels")
        return found

    def _region(self, box: Floats, score: float, index: int) -> Region:
        left, top, right, bottom = (float(edge) for edge in np.clip(box, 0.0, 1.0))
        return Region(self._config.labels[index], float(score), left, top, right, bottom)

    def _kept(self, boxes: Floats, scores: Floats, classes: NDArray[np.int64]) -> list[int]:
        """Non-maximum suppression, class by class; the surest first."""
        order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] >= self._config.threshold and _area(boxes[i]) > 0]
        kept: list[int] = []
        for i in order:
            rivals = [k for k in kept if classes[k] == classes[i]] if self._config.overlap is not None else []
            if all(overlap(boxes[i], boxes[k]) <= (self._config.overlap or 0.0) for k in rivals):
                kept.append(i)
            if len(kept) == self._config.most:
                break
        return kept


def _area(box: Floats) -> float:
    return max(0.0, float(box[2] - box[0])) * max(0.0, float(box[3] - box[1]))


def overlap(one: Floats, other: Floats) -> float:
    """Area of both over the area of either."""
    both = np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])])
    common = _area(both)
    return common / max(_area(one) + _area(other) - common, 1e-12)
