"""The PLC misbehaves and the link is cut, at each step of a write: no late write, no blind retry, an intent before every write
and an end to every intent."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from execute_rig import Rig, rig, trim
from scripted_plc import Plc

from edge_agent.contracts import Reply, TagContract
from edge_agent.errors import PlantError
from edge_agent.execute import supervision
from edge_agent.execute.supervision import Supervision
from edge_agent.execute.terms import Bounds
from edge_agent.messages import Mode, Reading, Scalar

pytestmark = pytest.mark.anyio
Figure = Callable[..., None]

BEHAVIOURS = ("obey", "scan", "silent", "slow", "ignore", "refuse", "clamp", "clamp_as_good", "clamp_silently", "revert", "fight")
_STEPS = 24  # requests of a write and what follows, each of which is cut once


@dataclass
class Cut(Plc):
    """A link that is cut at one request, for a while: the request may still have arrived, or not."""

    at: int = -1
    seconds: float = 0.0
    arrives: bool = False
    count: int = 0
    back_ns: int = 0
    sent_ns: dict[int, int] = field(default_factory=dict)  # which write, when

    def dead(self) -> bool:
        self.count += 1
        if self.count == self.at:
            self.back_ns = self.clock.mono_ns() + int(self.seconds * 1e9)
        return self.clock.mono_ns() < self.back_ns

    async def read(self, tag: str) -> Reading:
        if self.dead():
            raise PlantError(f"{tag}: the link is down")
        return await super().read(tag)

    async def describe(self, tag: str) -> TagContract:
        if self.dead():
            raise PlantError(f"{tag}: the link is down")
        return await super().describe(tag)

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        first = self.count + 1 == self.at
        if self.dead() and not (first and self.arrives):
            if tag != "lease":
                self.writes.append((tag, value))  # it was sent, and did not arrive
            raise PlantError(f"{tag}: the link is down")
        reply = await super().write(tag, value, timeout_s)
        if first and self.arrives:
            raise TimeoutError("the link is down, the write was the last to get through")
        return reply


@dataclass
class Tally:
    """What came of all the runs."""

    runs: int = 0
    writes: int = 0
    intents: int = 0
    wrong: list[str] = field(default_factory=list)


async def run(folder: Path, behaviour: str, at: int, *, seconds: float, arrives: bool) -> Rig:
    """A trim of -30 is wanted; the link is cut at one request; then it comes back, and the loop has a minute."""
    b = rig(folder, trim_changes={"verify": {"within": "1 s", "tolerance": 0.5}}, bounds=Bounds(settle_s=8.0, longest_hold_s=30.0))
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-20.0))
    plc: Any = b.plc
    plc.__class__ = Cut
    vars(plc).update(at=at, seconds=seconds, arrives=arrives, count=0, back_ns=0, sent_ns={})
    plc.script.append(behaviour)
    was_down = False
    for _ in range(80):
        down = b.clock.mono_ns() < plc.back_ns
        if was_down and not down:
            b.executor.reconnected()
        was_down = down
        await b.turn(trim(-30.0), fit=not down)
    return b


def faults(b: Rig) -> list[str]:
    """What must not be."""
    found = []
    plc: Any = b.plc
    intents = {seq: payload for seq, (kind, payload) in enumerate(b.ledger.records) if kind == "intent"}
    ends = [payload for payload in b.ledger.of("outcome") if payload["intent"] is not None]
    if len(plc.writes) > len(intents):
        found.append("a write without an intent")
    if missing := set(intents) - {end["intent"] for end in ends}:
        found.append(f"intents without an end: {missing}")
    if b.ledger.open_intents() and b.modes.mode is not Mode.HOLD:
        found.append(f"left open in {b.modes.mode}: {b.ledger.open_intents()}")
    return found + blind_retries(b)


def blind_retries(b: Rig) -> list[str]:
    """The same value was sent again while it was not known what became of it."""
    found, unknown = [], False
    for kind, payload in b.ledger.records:
        if kind == "intent" and unknown:
            found.append(f"sent {payload['value']} while an older write was open")
        if kind == "outcome" and payload["intent"] is not None:
            unknown = payload["status"] == "unknown"
    return found


async def cut_everywhere(tmp_path: Path, cases: list[tuple[str, int, float, bool]]) -> Tally:
    tally = Tally()
    for number, (behaviour, at, seconds, arrives) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        b = await run(folder, behaviour, at, seconds=seconds, arrives=arrives)
        tally.runs += 1
        tally.writes += len(b.plc.writes)
        tally.intents += len(b.ledger.of("intent"))
        tally.wrong += [f"{behaviour}, cut at {at} for {seconds} s, arrives {arrives}: {fault}" for fault in faults(b)]
    assert tally.writes > 2 * tally.runs, "progress was made"
    return tally


def cases(behaviours: tuple[str, ...], steps: range, times: tuple[float, ...]) -> list[tuple[str, int, float, bool]]:
    return [(b, at, seconds, arrives) for b in behaviours for at in steps for seconds in times for arrives in (False, True)]


async def test_a_link_cut_at_each_step_of_a_write_leaves_no_loose_end(tmp_path: Path, figure: Figure) -> None:
    tally = await cut_everywhere(tmp_path, cases(("obey", "scan", "silent"), range(1, 11), (3.0,)))
    assert tally.wrong == []
    figure("write protocol", runs=tally.runs, writes=tally.writes, intents=tally.intents, without_end=0, blind_retries=0)


@pytest.mark.control
async def test_an_agent_that_forgets_what_it_sent_retries_blindly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    """The control: an open outcome is forgotten at once."""

    async def forget(self: Supervision) -> list[Any]:
        for held in self._held.values():
            held.unresolved = None
        await self._steps.tell("resolved", reason="forgotten")
        return []

    monkeypatch.setattr(supervision.Supervision, "open_outcomes", forget)
    tally = await cut_everywhere(tmp_path, cases(("silent", "ignore"), range(3, 9), (3.0,)))
    assert len(tally.wrong) > 3
    figure("write protocol, control that forgets", runs=tally.runs, blind_retries=len(tally.wrong))


@pytest.mark.torture
@pytest.mark.timeout(1200)
async def test_every_misbehaviour_with_the_link_cut_at_every_step_leaves_no_loose_end(tmp_path: Path, figure: Figure) -> None:
    every = cases(BEHAVIOURS, range(1, _STEPS), (0.3, 3.0, 20.0))
    random.Random(1).shuffle(every)
    tally = await cut_everywhere(tmp_path, every)
    assert tally.wrong == []
    figure("write protocol", runs=tally.runs, writes=tally.writes, intents=tally.intents, without_end=0, blind_retries=0)
