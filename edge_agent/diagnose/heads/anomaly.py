"""Model type "anomaly": the graph gives one score a window (higher is stranger) and, if it can, each channel's part in it.

The score may be a reconstruction's error, a forecast's residual, a negative log density; or, of a PCA, T2 and Q, the worse of which counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.config.types import Model
from edge_agent.diagnose.blame import shares
from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Window


class Config(Model):
    """Keys of `head:` in the card. The alarm threshold stands in the card's `thresholds`."""

    type: Literal["anomaly"]
    method: Literal["reconstruction", "forecast", "density", "pca"] | None = Field(
        default=None, description="what the score is, for people"
    )


class Head:
    """Reads `score`, or `t2` and `q`; and `contributions` if there are any."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        scores = (names.score,) if names.score else (names.t2, names.q)
        self._scores = tuple(name for name in scores if name)
        if len(self._scores) != len(scores):
            raise ModelRefused(f"{card.name}: head anomaly needs graph.outputs.score, or t2 and q")
        self._window, self._contributions = card.graph.window, names.contributions

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The window as it is: [1, C, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """Score and shares of the blame."""
        raw = max(float(outputs[name][0]) for name in self._scores)
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
