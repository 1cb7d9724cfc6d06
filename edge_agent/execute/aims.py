"""What should happen to which tag in this turn: toward a wish, or back to neutral? And what is the next step on that way?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_agent.execute.evidence import Case
from edge_agent.execute.gate.facts import Kind, Purpose, Scalar, Value
from edge_agent.execute.gate.values import identical, number
from edge_agent.execute.ramp import destination, next_step
from edge_agent.execute.station import Held, Station
from edge_agent.execute.terms import pace
from edge_agent.messages import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where one tag should go."""

    tag: str
    kind: Kind
    purpose: Purpose
    target: Value  # absolute
    reason: str


def aims(station: Station, held: Mapping[str, Held], case: Case) -> Iterator[Aim]:
    """The wishes of this turn; a trim that nobody wants any more goes back."""
    reasons = {proposal.tag: proposal.reason for proposal in case.decision.proposals}
    for tag, (kind, target) in case.wishes.items():
        if tag in held and kind in ("set", "trim", "call"):
            yield Aim(tag=tag, kind=kind, purpose="act", target=target, reason=reasons[tag])  # type: ignore[arg-type]
    if station.modes.mode is not Mode.ARMED or case.decision.unknown or not case.good_windows:
        return
    for tag, memory in held.items():
        if tag not in case.wishes and station.away(tag, memory):
            yield Aim(tag=tag, kind="trim", purpose="return", target=station.neutral(tag), reason=case.decision.reason)


def track(held: Mapping[str, Held], case: Case, now_ns: int) -> None:
    """For how long has each wish been standing?"""
    for tag, memory in held.items():
        kind = case.wishes[tag][0] if tag in case.wishes else None
        wanted = (case.decision.state, kind) if kind is not None else None
        if wanted is None or wanted != memory.wanted:
            memory.wanted_windows, memory.wanted_since_ns = 0, now_ns
        memory.wanted = wanted
        memory.wanted_windows += wanted is not None
        if kind != "call":
            memory.called = None


def step_of(station: Station, memory: Held, aim: Aim, current: Scalar | None, now_ns: int) -> Value | None:
    """What to write now; None where the wish is held already, or its next step is not due."""
    if aim.kind == "call":
        return None if memory.called is not None and identical(memory.called, aim.target) else aim.target
    here, there = number(current), number(aim.target)
    if here is None or there is None or station.writes[aim.tag].values is not None:
        return None if current is not None and identical(current, aim.target) else aim.target
    if here == there:
        return None
    speed = pace(station.writes[aim.tag])
    since_s = memory.budgets.since_last_s(now_ns)
    if since_s < station.writes[aim.tag].min_interval:
        return None
    goal = destination(target=there, current=here, neutral=station.neutral(aim.tag), step=speed.step)
    return next_step(current=here, target=goal, since_s=since_s, pace=speed)
