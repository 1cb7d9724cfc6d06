"""Model type "anomaly_map": the graph gives how strange each place of a picture is; the picture is as strange as its strangest places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.config.types import Model, Share
from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Region, Window

_MOST = 20  # regions
_HOT = 4096  # cells; a picture that is strange all over has one region


class Config(Model):
    """Keys of `head:` in the card. The alarm threshold stands in the card's `thresholds`."""

    type: Literal["anomaly_map"]
    top: Share = Field(default=0.01, description="the score is the mean of this share of the map's cells, the highest; at least one cell")
    hot: float | None = Field(default=None, description="cells from this value on are marked as regions, in the map's own unit")


class Head:
    """Reads `map`, and `score` if the graph gives one."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        if card.picture is None or names.map is None:
            raise ModelRefused(f"{card.name}: head anomaly_map needs `picture:` with `map:`, and graph.outputs.map")
        self._config, self._window, self._map, self._score = config, card.graph.window, names.map, names.score

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The picture as it is: [1, C, H, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """Score, heat, and where it is hot."""
        heat = np.array(outputs[self._map][0], dtype=np.float32)
        raw = float(outputs[self._score][0]) if self._score else self._highest(heat)
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=raw,
            raw=raw,
            regions=_regions(heat, self._config.hot) if self._config.hot is not None else (),
            heat=heat,
        )

    def _highest(self, heat: NDArray[np.float32]) -> float:
        count = max(1, round(heat.size * self._config.top))
        return float(np.partition(heat.reshape(-1), heat.size - count)[-count:].mean())


def _regions(heat: NDArray[np.float32], hot: float) -> tuple[Region, ...]:
    """A frame around each group of hot cells that touch, the hottest first."""
    cells = {(int(y), int(x)) for y, x in np.argwhere(heat >= hot)}
    groups = [cells] if len(cells) > _HOT else _groups(cells)
    found = [_region(group, heat) for group in groups if group]
    return tuple(sorted(found, key=lambda region: -region.score)[:_MOST])


def _groups(cells: set[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    left, groups = set(cells), []
    while left:
        group, edge = set[tuple[int, int]](), [left.pop()]
        while edge:
            y, x = edge.pop()
            group.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        groups.append(group)
    return groups


def _region(group: set[tuple[int, int]], heat: NDArray[np.float32]) -> Region:
    height, width = heat.shape
    rows, columns = [y for y, _ in group], [x for _, x in group]
    score = max(float(heat[cell]) for cell in group)
    return Region("hot", score, min(columns) / width, min(rows) / height, (max(columns) + 1) / width, (max(rows) + 1) / height)
