"""Policy `trim`: a small bounded correction of one tag, in proportion to an error or step by step, that returns to neutral.

    {policy: trim, tag: speed, error: "score - 0.5", gain: -400, dead_zone: 0.1, limits: [-200, 0]}
    {policy: trim, tag: speed, error: "flow - 30", step: -10, every: 20 s, dead_zone: 1, limits: [-200, 200]}

`gain`: the trim is gain x (error beyond the dead zone), within `limits`. `step`: while the error lies beyond the dead zone, the trim
moves by `step` every so often, in the error's direction, up to a limit; inside the dead zone it moves back to neutral at the same pace.
While the error is unknown or the diagnosis is no evidence the last trim stays and the decision says `unknown`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge_agent.config.model import TagName
from edge_agent.config.types import Duration, Model
from edge_agent.contracts import Situation
from edge_agent.decide.assembly import Assembly, Path
from edge_agent.decide.explaining import number, undecided
from edge_agent.decide.timers import Stay
from edge_agent.decide.vocabulary import values, vocabulary
from edge_agent.messages import Decision, Proposal

_STATES = ("neutral", "trimming")


class Config(Model):
    """A bounded correction of one tag."""

    policy: Literal["trim"]
    tag: TagName = Field(description="the tag to trim")
    error: str = Field(default="score", description="expression; 0 where all is well")
    gain: float | None = Field(default=None, description="trim per unit of error")
    step: float | None = Field(default=None, description="instead of `gain`: trim per step, for a positive error")
    every: Duration = Field(default=10.0, description="time between two steps")
    dead_zone: Annotated[float, Field(ge=0)] = Field(default=0.0, description="an error up to this is none")
    limits: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(description="smallest and largest trim; 0 lies between them")
    resolution: Annotated[float, Field(ge=0)] = Field(default=0.0, description="smaller moves are not worth a write")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.gain is None) == (self.step is None):
            raise ValueError("give either `gain` or `step`")
        if (self.gain if self.step is None else self.step) == 0:
            raise ValueError("a `gain` or `step` of 0 does nothing")
        if not self.limits[0] <= 0 <= self.limits[1] or self.limits[0] == self.limits[1]:
            raise ValueError(f"limits {self.limits} must rise and hold 0, the neutral trim")
        return self


def expressions(config: Config) -> list[tuple[Path, str]]:
    """Every expression with its path."""
    return [(("error",), config.error)]


class Policy:
    """Keeps one trim."""

    def __init__(self, config: Config, *, loop: str, tags: Collection[str], writable: Collection[str]) -> None:
        self._loop, self._config = loop, config
        assembly = Assembly(vocabulary(tags, states=_STATES), writable)
        assembly.writes(("tag",), config.tag)
        self._error = assembly.expression(("error",), config.error, "number")
        assembly.finish()
        self._stay = Stay("neutral")
        self.reset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({self._config.tag})

    def reset(self) -> None:
        self._stay.reset()
        self._trim = 0.0
        self._touched = False  # it has trimmed: from then on it answers for the tag
        self._stepped_ns: int | None = None

    def step(self, situation: Situation) -> Decision:
        window, previous = situation.window, self._stay.state
        known = values(situation, state=previous, elapsed_s=self._stay.elapsed_s(window.end_ns))
        error = self._error.number(known)
        if situation.diagnosis.status != "ok":
            reason = f"trim {number(self._trim)} stays: {undecided(situation.diagnosis)}"
        elif error is None:
            reason = f"trim {number(self._trim)} stays: {self._error.explain(known)} is unknown"
        else:
            self._move(error, window.end_ns)
            reason = f"{self._config.tag} trim {number(self._trim)}: {self._error.explain(known)}{self._remark(error)}"
        self._stay.enter("trimming" if self._trim else "neutral", window.end_ns)
        self._touched = self._touched or self._trim != 0.0
        return Decision(
            loop=self._loop,
            seq=window.seq,
            window=window.seq,
            end_ns=window.end_ns,
            state=self._stay.state,
            previous=previous,
            proposals=(Proposal("trim", self._config.tag, self._trim, reason),) if self._touched else (),
            reason=reason,
            unknown=situation.diagnosis.status != "ok" or error is None,
        )

    def _move(self, error: float, at_ns: int) -> None:
        beyond = math.copysign(max(0.0, abs(error) - self._config.dead_zone), error)
        if self._config.gain is not None:
            target = self._bounded(self._config.gain * beyond)
            if abs(target - self._trim) > self._config.resolution or (target == 0.0 and self._trim):
                self._trim = target
        elif self._stepped_ns is None or not 0 <= at_ns - self._stepped_ns < round(self._config.every * 1e9):
            self._stepped_ns = at_ns
            self._trim = self._next_step(beyond)

    def _next_step(self, beyond: float) -> float:
        step = self._config.step or 0.0
        if beyond:
            return self._bounded(self._trim + math.copysign(1.0, beyond) * step)
        return math.copysign(max(0.0, abs(self._trim) - abs(step)), self._trim) or 0.0

    def _bounded(self, trim: float) -> float:
        return min(max(trim, self._config.limits[0]), self._config.limits[1]) or 0.0  # never -0.0

    def _remark(self, error: float) -> str:
        if abs(error) <= self._config.dead_zone:
            return f" lies in the dead zone of {number(self._config.dead_zone)}"
        return ", at its limit" if self._trim and self._trim in self._config.limits else ""
