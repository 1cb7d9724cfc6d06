"""Model type "classify": the graph gives one probability (or logit) a label; the score is how unlikely the normal label is
(without one: how likely the best label is).

A machine of several parts (multi-label): labels are `part=state`, `normal` lists one normal state of each part, and each part's
probabilities sum to one. The score is that of the part that is least normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_agent.config.types import Model
from edge_agent.diagnose.blame import shares
from edge_agent.diagnose.card import Card
from edge_agent.diagnose.states import States
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Window

Label = Annotated[str, Field(min_length=1, max_length=64)]


class Config(Model):
    """Keys of `head:` in the card."""

    type: Literal["classify"]
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000, description="in the order of the graph's output")]
    normal: Label | tuple[Label, ...] = Field(
        default=(),
        description="the label that means: nothing is wrong; a list: one `part=state` of each part; unset: every label is a finding",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.states()
        return self

    def states(self) -> States:
        """The labels in their groups. ValueError."""
        return States(self.labels, (self.normal,) if isinstance(self.normal, str) else self.normal)


class Head:
    """Reads `probabilities`, or `logits` through a softmax; and `contributions` if there are any."""

    def __init__(self, config: Config, card: Card) -> None:
        names = card.graph.outputs
        output = names.probabilities or names.logits
        if output is None:
            raise ModelRefused(f"{card.name}: head classify needs graph.outputs.probabilities or graph.outputs.logits")
        self._states = config.states()
        self._window, self._output, self._softmax = card.graph.window, output, names.probabilities is None
        self._contributions = names.contributions

    def feeds(self, window: Window) -> dict[str, NDArray[Any]]:
        """The window as it is: [1, C, W]."""
        return {self._window: window.values[None]}

    def read(self, outputs: Mapping[str, NDArray[Any]], window: Window) -> Diagnosis:
        """Label, confidence, and 1 - P(normal) as the score. ValueError if these are no probabilities."""
        found = self._states.shares(self._probabilities(outputs[self._output][0].astype(np.float64)))
        (label, confidence), raw = self._states.named(found), self._states.score(found)
        parts = outputs[self._contributions][0] if self._contributions else np.empty(0)
        return Diagnosis(
            loop=window.loop,
            window=window.seq,
            end_ns=window.end_ns,
            status="ok",
            score=raw,
            raw=raw,
            confidence=confidence,
            label=label,
            probabilities=found,
            contributions=shares(parts, window.tags),
        )

    def _probabilities(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        for group in self._states.groups:
            part = found[group]
            if self._softmax:
                found[group] = np.exp(part - part.max())
            elif part.min() < -1e-3 or abs(part.sum() - 1) > 1e-2:
                raise ValueError(f"probabilities from {part.min():.3g} on that sum to {part.sum():.3g}")
        return found
