"""Policy `setpoint`: one tag follows an expression or a table.

    {policy: setpoint, tag: speed, value: "1450 - 200 * score", dead_band: 10, hold: 30 s}
    {policy: setpoint, tag: speed, table: {of: flow, points: [[0, 900], [60, 1450]]}, when: "running"}

The wish stays until the value has moved by more than `dead_band`, and at least for `hold`. Outside the table, or where the value or
`when` is unknown, or while the diagnosis is no evidence, the last wish stays and the decision says `unknown`. Where `when` is
false nothing is wanted any more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from itertools import pairwise
from math import isfinite
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

_STATES = ("idle", "following")


class Table(Model):
    """A curve of points."""

    of: str = Field(description="expression that gives the input, like 'flow'")
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(min_length=2, description="[input, setpoint], rising")
    between: Literal["line", "step"] = Field(default="line", description="between two points: a straight line, or the left one's value")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        inputs = [x for x, _ in self.points]
        if any(b <= a for a, b in pairwise(inputs)):
            raise ValueError("the inputs of the points must rise; sort them and remove doubles")
        return self


class Config(Model):
    """One tag follows an expression or a table."""

    policy: Literal["setpoint"]
    tag: TagName = Field(description="the tag to set")
    value: str | None = Field(default=None, description="expression that gives the setpoint")
    table: Table | None = Field(default=None, description="instead of `value`")
    when: str | None = Field(default=None, description="only while this expression holds; default: always")
    dead_band: Annotated[float, Field(ge=0)] = Field(default=0.0, description="smaller moves are not worth a write")
    hold: Duration = Field(default=0.0, description="shortest time between two setpoints")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.value is None) == (self.table is None):
            raise ValueError("give either `value` or `table`")
        return self


def expressions(config: Config) -> list[tuple[Path, str]]:
    """Every expression with its path."""
    found: list[tuple[Path, str]] = [(_source(config), _text(config))]
    return found + ([(("when",), config.when)] if config.when is not None else [])


def _source(config: Config) -> Path:
    return ("table", "of") if config.table else ("value",)


def _text(config: Config) -> str:
    return config.table.of if config.table else config.value or ""


class Policy:
    """Keeps one wish."""

    def __init__(self, config: Config, *, loop: str, tags: Collection[str], writable: Collection[str]) -> None:
        self._loop, self._config = loop, config
        assembly = Assembly(vocabulary(tags, states=_STATES), writable)
        assembly.writes(("tag",), config.tag)
        self._value = assembly.expression(_source(config), _text(config), "number")
        self._when = assembly.expression(("when",), "true" if config.when is None else config.when, "truth")
        assembly.finish()
        self._stay = Stay("idle")
        self.reset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({self._config.tag})

    def reset(self) -> None:
        self._stay.reset()
        self._wish: float | None = None
        self._changed_ns: int | None = None
        self._why = ""

    def step(self, situation: Situation) -> Decision:
        window, previous = situation.window, self._stay.state
        known = values(situation, state=previous, elapsed_s=self._stay.elapsed_s(window.end_ns))
        active = self._when.truth(known)
        doubt = self._doubt(known, situation, active) if active is not False else ""
        if active is False:
            self._wish = None
            reason = f"nothing is wanted: {self._when.explain(known)} does not hold"
        else:
            reason = f"the last wish stays: {doubt}" if doubt else self._follow(known, window.end_ns)
        self._stay.enter("idle" if self._wish is None else "following", window.end_ns)
        return Decision(
            loop=self._loop,
            seq=window.seq,
            window=window.seq,
            end_ns=window.end_ns,
            state=self._stay.state,
            previous=previous,
            proposals=() if self._wish is None else (Proposal("set", self._config.tag, self._wish, self._why),),
            reason=reason,
            unknown=bool(doubt) or situation.diagnosis.status != "ok",
        )

    def _doubt(self, known: dict[str, object], situation: Situation, active: bool | None) -> str:
        """Why nothing can be decided now, if so."""
        if situation.diagnosis.status != "ok":
            return undecided(situation.diagnosis)
        if active is None:
            return f"{self._when.explain(known)} cannot be decided"
        if self._target(known) is None:
            outside = "is unknown" if self._value.number(known) is None else "lies outside the table"
            return f"{self._value.explain(known)} {outside}"
        return ""

    def _target(self, known: dict[str, object]) -> float | None:
        value = self._value.number(known)
        return value if value is None or self._config.table is None else _on_curve(self._config.table, value)

    def _follow(self, known: dict[str, object], at_ns: int) -> str:
        """Move the wish if it is worth it, and say what it is."""
        target = self._target(known)
        moved = target is not None and (self._wish is None or abs(target - self._wish) > self._config.dead_band)
        waited_s = None if self._changed_ns is None else abs(at_ns - self._changed_ns) / 1e9
        if moved and waited_s is not None and waited_s < self._config.hold:
            return f"{self._value.explain(known)}: waits, the last change is {number(waited_s)} of {number(self._config.hold)} s old"
        if moved:
            self._wish, self._changed_ns = target, at_ns
            self._why = f"{self._config.tag} should be {number(target or 0.0)}: {self._value.explain(known)}"
        return self._why


def _on_curve(table: Table, x: float) -> float | None:
    """The curve's value; None outside of it (a value out of its range is a fault, not something to mend)."""
    inputs = [point[0] for point in table.points]
    if not inputs[0] <= x <= inputs[-1]:
        return None
    right = bisect_right(inputs, x)
    if table.between == "step" or right == len(inputs):
        return table.points[right - 1][1]
    (x0, y0), (x1, y1) = table.points[right - 1 : right + 1]
    y = y0 + (y1 - y0) * ((x - x0) / (x1 - x0))
    return y if isfinite(y) else None
