"""Model type "regress": the graph gives one value a window in a unit of its own, and, if it can, the interval it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge_agent.config.types import Model
from edge_agent.diagnose.blame import shares
from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Window


class Config(Model):
    """Keys of `head:` in the card."""

    type: Literal["regress"]
    quantity: Annotated[str, Field(max_length=64)] = Field(default="value", description="what the value is, like 'days to failure'")
    unit: Annotated[str, Field(max_length=32)] | None = None
    domain: tuple[float, float] | None = Field(default=None, description="a value outside is a failure of the model, not a value")
    width: Annotated[float, Field(gt=0)] | None = Field(default=None, description="an interval this wide has confidence 0")


class Head:
    """Reads `value`, and `low` and `high` if there are any."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        if names.value is None:
            raise ModelRefused(f"{card.name}: head regress needs graph.outputs.value")
        if config.width is not None and (names.low is None or names.high is None):
            raise ModelRefused(f"{card.name}: head.width needs graph.outputs.low and graph.outputs.high")
        self._config, self._names, self._window, self._value = config, names, card.graph.window, names.value

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The window as it is: [1, C, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """The value as the score, in its own unit. ValueError if it lies outside its domain."""
        value = float(outputs[self._value][0])
        domain = self._config.domain
        if domain and not domain[0] <= value <= domain[1]:
            raise ValueError(f"{self._config.quantity} {value:.4g} lies outside {domain[0]:g}..{domain[1]:g}")
        parts = outputs[self._names.contributions][0] if self._names.contributions else np.empty(0)
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=value,
            raw=value,
            confidence=self._confidence(outputs),
            contributions=shares(parts, window.tags),
        )

    def _confidence(self, outputs: Mapping[str, NDArray[Any]]) -> float | None:
        if self._config.width is None or self._names.low is None or self._names.high is None:
            return None
        wide = float(outputs[self._names.high][0]) - float(outputs[self._names.low][0])
        if wide < 0:
            raise ValueError(f"the interval's lower end lies {-wide:.4g} above its upper end")
        return max(0.0, 1.0 - wide / self._config.width)
