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


class Conformal(Model):
    """An interval that holds the truth at least `coverage` of the time: the value plus and minus a quantile of held-out errors."""

    half: Annotated[float, Field(gt=0, description="half of the interval's width, in the value's unit")]
    coverage: Annotated[float, Field(gt=0, lt=1)]
    windows: Annotated[int, Field(ge=20, description="held-out windows, not overlapping, that it was taken from")]


class Config(Model):
    """Keys of `head:` in the card."""

    type: Literal["regress"]
    quantity: Annotated[str, Field(max_length=64)] = Field(default="value", description="what the value is, like 'days to failure'")
    unit: Annotated[str, Field(max_length=32)] | None = None
    domain: tuple[float, float] | None = Field(default=None, description="a value outside is a failure of the model, not a value")
    width: Annotated[float, Field(gt=0)] | None = Field(default=None, description="an interval this wide has confidence 0")
    conformal: Conformal | None = Field(default=None, description="where the graph itself gives no interval")


class Head:
    """Reads `value`, and `low` and `high` if there are any."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        if names.value is None:
            raise ModelRefused(f"{card.name}: head regress needs graph.outputs.value")
        if (names.low is None) != (names.high is None):
            raise ModelRefused(f"{card.name}: head regress needs both graph.outputs.low and graph.outputs.high, or none")
        if names.low is not None and config.conformal is not None:
            raise ModelRefused(f"{card.name}: the graph gives an interval and so does head.conformal; give one of them")
        if config.width is not None and names.low is None and config.conformal is None:
            raise ModelRefused(f"{card.name}: head.width needs an interval: graph.outputs.low and graph.outputs.high, or head.conformal")
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
        low, high = self._interval(outputs, value)
        parts = outputs[self._names.contributions][0] if self._names.contributions else np.empty(0)
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=value,
            raw=value,
            lower=low,
            upper=high,
            confidence=self._confidence(low, high),
            contributions=shares(parts, window.tags),
        )

    def _confidence(self, low: float | None, high: float | None) -> float | None:
        if self._config.width is None or low is None or high is None:
            return None
        return max(0.0, 1.0 - (high - low) / self._config.width)

    def _interval(self, outputs: Mapping[str, NDArray[Any]], value: float) -> tuple[float | None, float | None]:
        """The graph's own interval, or the conformal one of the card around the value. ValueError if it is upside down."""
        if self._names.low is not None and self._names.high is not None:
            low, high = float(outputs[self._names.low][0]), float(outputs[self._names.high][0])
            if low > high:
                raise ValueError(f"the interval's lower end lies {low - high:.4g} above its upper end")
            return low, high
        conformal = self._config.conformal
        return (value - conformal.half, value + conformal.half) if conformal else (None, None)
