"""Model type "anomaly": the graph gives one score a window (higher is stranger) and, if it can, each channel's part in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.types import Model
from edge_agent.diagnose.blame import shares
from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Window


class Config(Model):
    """Keys of `head:` in the card. The alarm threshold stands in the card's `thresholds`."""

    type: Literal["anomaly"]


class Head:
    """Reads `score` and `contributions`."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        if names.score is None:
            raise ModelRefused(f"{card.name}: head anomaly needs graph.outputs.score")
        self._window, self._score, self._contributions = card.graph.window, names.score, names.contributions

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The window as it is: [1, C, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """Score and shares of the blame."""
        raw = float(outputs[self._score][0])
        parts = outputs[self._contributions][0] if self._contributions else np.empty(0)
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=raw,
            raw=raw,
            contributions=shares(parts, window.tags),
        )
