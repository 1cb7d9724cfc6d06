"""Model type "classify": the graph gives one probability (or logit) a label; the score is how unlikely the normal label is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_agent.config.types import Model
from edge_agent.diagnose.blame import shares
from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Window

Label = Annotated[str, Field(min_length=1, max_length=64)]


class Config(Model):
    """Keys of `head:` in the card."""

    type: Literal["classify"]
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000, description="in the order of the graph's output")]
    normal: Label = Field(description="the label that means: nothing is wrong")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if len(set(self.labels)) != len(self.labels) or self.normal not in self.labels:
            raise ValueError("each label once, and `normal` must be one of them")
        return self


class Head:
    """Reads `probabilities`, or `logits` through a softmax; and `contributions` if there are any."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        output = names.probabilities or names.logits
        if output is None:
            raise ModelRefused(f"{card.name}: head classify needs graph.outputs.probabilities or graph.outputs.logits")
        self._labels, self._normal = config.labels, config.labels.index(config.normal)
        self._window, self._output, self._softmax = card.graph.window, output, names.probabilities is None
        self._contributions = names.contributions

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The window as it is: [1, C, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """Label, confidence, and 1 - P(normal) as the score. ValueError if these are no probabilities."""
        found = self._probabilities(outputs[self._output][0].astype(np.float64))
        best, raw = int(found.argmax()), float(1.0 - found[self._normal])
        parts = outputs[self._contributions][0] if self._contributions else np.empty(0)
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=raw,
            raw=raw,
            confidence=float(found[best]),
            label=self._labels[best],
            probabilities={label: float(p) for label, p in zip(self._labels, found, strict=True)},
            contributions=shares(parts, window.tags),
        )

    def _probabilities(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._softmax:
            found = np.exp(found - found.max())
        elif found.min() < -1e-3 or abs(found.sum() - 1) > 1e-2:
            raise ValueError(f"probabilities from {found.min():.3g} on that sum to {found.sum():.3g}")
        found = np.maximum(found, 0.0)
        return np.asarray(found / found.sum())
