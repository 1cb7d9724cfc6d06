"""Policy `pid`: keep a measured value at its setpoint with one tag.

    {policy: pid, tag: valve, measured: flow, setpoint: 30, kp: 1.2, ki: 0.1, limits: [0, 100], action: reverse}

output = kp * error + sum of ki * error * dt - kd * (filtered rise of the measured value). Reverse action (the usual): the output falls
when the measured value rises. While the loop is not armed, and in the window in which it is armed, the sum is set so that the output
equals what the plant holds (`applied`): taking over moves nothing. A new setpoint moves the output by the sum alone, never with a jump.
The sum does not grow into a limit, and follows what was really applied where the plant did not take the wish (anti-windup).
Time comes from the windows. A step longer than `longest`, an unknown value or a diagnosis that is no evidence holds: the wish stays,
nothing is summed up, the decision says `unknown` where something is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge_agent.config.model import TagName
from edge_agent.config.types import Duration, Model
from edge_agent.contracts import Situation
from edge_agent.decide import evidence
from edge_agent.decide.assembly import Assembly, Path
from edge_agent.decide.explaining import number, undecided
from edge_agent.decide.timers import Stay
from edge_agent.decide.vocabulary import values, vocabulary
from edge_agent.messages import Decision, Proposal

_STATES = ("tracking", "controlling", "holding")


class Config(Model):
    """Keep a measured value at its setpoint."""

    policy: Literal["pid"]
    tag: TagName = Field(description="the tag to set")
    measured: str = Field(description="expression that gives the measured value, like 'flow'")
    setpoint: float | str = Field(description="number, or an expression")
    kp: Annotated[float, Field(ge=0)] = Field(description="output per unit of error")
    ki: Annotated[float, Field(gt=0)] = Field(description="output per unit of error and second")
    kd: Annotated[float, Field(ge=0)] = Field(default=0.0, description="output per unit of the measured value's rise per second")
    filter: Duration = Field(default=0.0, description="time constant that smooths the rise")
    action: Literal["reverse", "direct"] = Field(default="reverse", description="direct: the output rises with the measured value")
    limits: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(description="lowest and highest output")
    dead_band: Annotated[float, Field(ge=0)] = Field(default=0.0, description="smaller moves are no write; at least half the tag's `step`")
    longest: Duration = Field(default=10.0, description="a longer step between two windows is a gap: hold")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.limits[0] >= self.limits[1]:
            raise ValueError(f"limits {self.limits} must rise")
        return self


def expressions(config: Config) -> list[tuple[Path, str]]:
    """Every expression with its path."""
    found: list[tuple[Path, str]] = [(("measured",), config.measured)]
    return found + ([(("setpoint",), config.setpoint)] if isinstance(config.setpoint, str) else [])


@dataclass(slots=True)
class Memory:
    """What the controller carries from window to window."""

    end_ns: int
    total: float  # sum of ki * error * dt: the output apart from kp and kd
    measured: float
    setpoint: float
    rise: float = 0.0  # filtered, units per second


class Policy:
    """A PID controller with its feet on the ground."""

    def __init__(self, config: Config, *, loop: str, tags: Collection[str], writable: Collection[str]) -> None:
        self._loop, self._config = loop, config
        assembly = Assembly(vocabulary(tags, states=_STATES), writable)
        assembly.writes(("tag",), config.tag)
        self._measured = assembly.expression(("measured",), config.measured, "number")
        given = config.setpoint if isinstance(config.setpoint, str) else repr(config.setpoint)
        self._setpoint = assembly.expression(("setpoint",), given, "number")
        assembly.finish()
        self._sign = 1.0 if config.action == "reverse" else -1.0
        self._stay = Stay("tracking")
        self.reset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({self._config.tag})

    def reset(self) -> None:
        self._stay.reset()
        self._memory: Memory | None = None
        self._wish: float | None = None
        self._armed = False

    def step(self, situation: Situation) -> Decision:
        window, previous = situation.window, self._stay.state
        known = values(situation, state=previous, elapsed_s=self._stay.elapsed_s(window.end_ns))
        applied = self._applied(situation)
        doubt = self._doubt(known, situation, applied)
        self._advance(known, situation, applied, doubt)
        self._stay.enter("holding" if doubt else "controlling" if situation.armed else "tracking", window.end_ns)
        self._armed = situation.armed and (self._armed or not doubt)
        return Decision(
            loop=self._loop,
            seq=window.seq,
            window=window.seq,
            end_ns=window.end_ns,
            state=self._stay.state,
            previous=previous,
            proposals=() if self._wish is None else (Proposal("set", self._config.tag, self._wish, self._sentence(known)),),
            reason=f"output holds: {doubt}" if doubt else self._sentence(known),
            unknown=bool(doubt),
        )

    def _applied(self, situation: Situation) -> float | None:
        """What the plant holds: what it confirmed last, else what it shows."""
        tag = self._config.tag
        confirmed = evidence.number(situation.applied.get(tag))
        return evidence.number(situation.window.live.get(tag)) if confirmed is None else confirmed

    def _doubt(self, known: Mapping[str, object], situation: Situation, applied: float | None) -> str:
        """Why nothing can be computed now, if so."""
        if situation.diagnosis.status != "ok":
            return undecided(situation.diagnosis)
        for expression in (self._measured, self._setpoint):
            if expression.number(known) is None:
                return f"{expression.explain(known)} is unknown"
        if applied is None and not self._armed:
            return f"what {self._config.tag} holds is unknown"
        return ""

    def _advance(self, known: Mapping[str, object], situation: Situation, applied: float | None, doubt: str) -> None:
        going_on = self._armed and situation.armed
        if not situation.armed and applied is not None:
            self._wish = applied
        measured, setpoint = self._measured.number(known), self._setpoint.number(known)
        if doubt or measured is None or setpoint is None:
            self._memory = None
            return
        now, last = Memory(situation.window.end_ns, 0.0, measured, setpoint), self._memory
        dt = (now.end_ns - last.end_ns) / 1e9 if last else 0.0
        if going_on and last and 0 < dt <= self._config.longest:
            self._control(now, last, dt, applied)
        else:
            self._take_over(now, self._wish if going_on else applied)

    def _take_over(self, now: Memory, holds: float | None) -> None:
        """Begin, or go on after a gap, with the sum that makes the output what it is already."""
        self._wish = holds
        now.total = (holds or 0.0) - self._proportional(now)
        self._memory = now

    def _control(self, now: Memory, last: Memory, dt: float, applied: float | None) -> None:
        low, high = self._config.limits
        weight = dt / (self._config.filter + dt)
        now.rise = last.rise + weight * ((now.measured - last.measured) / dt - last.rise)
        gained = self._config.ki * self._sign * (now.setpoint - now.measured) * dt
        base = last.total + self._setpoint_jump(last, now) + self._windup(applied, dt)
        outside = self._proportional(now) - self._sign * self._config.kd * now.rise
        rest = base + outside
        gained = max(min(gained, max(0.0, high - rest)), min(0.0, low - rest))  # the sum grows up to a limit, not into it
        output = rest + gained
        now.total = base + gained
        self._memory = now if isfinite(output) and isfinite(now.total) else None
        if self._memory is None:
            return  # absurd values: the wish stays, and the next window begins anew
        bounded = min(max(output, low), high)
        if self._wish is None or abs(bounded - self._wish) > self._config.dead_band:
            self._wish = bounded

    def _proportional(self, at: Memory) -> float:
        return self._config.kp * self._sign * (at.setpoint - at.measured)

    def _setpoint_jump(self, last: Memory, now: Memory) -> float:
        """What a new setpoint would add through kp: taken out of the sum."""
        return -self._config.kp * self._sign * (now.setpoint - last.setpoint)

    def _windup(self, applied: float | None, dt: float) -> float:
        """Back-calculation: where the plant did not take the wish, the sum follows what it took, with time constant kp / ki."""
        if applied is None or self._wish is None or abs(applied - self._wish) <= self._config.dead_band:
            return 0.0
        return (applied - self._wish) * dt * self._config.ki / max(self._config.kp, self._config.ki * dt)

    def _sentence(self, known: Mapping[str, object]) -> str:
        wish = "nothing" if self._wish is None else number(self._wish)
        return f"{self._config.tag} should be {wish}: {self._measured.explain(known)}, setpoint {self._setpoint.explain(known)}"
