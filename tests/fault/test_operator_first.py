"""The operator takes over at any moment, even while a write is being prepared: not one write follows.

One thing no client of a PLC can see: a hand that turns the tag itself after the PLC has answered our last read and before our
write arrives, with nothing in between. Such a write crosses the hand on the wire; these are counted, and said to be few.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from execute_rig import Rig, rig, trim
from scripted_plc import Ledger, Plc

from edge_agent.contracts import Reply, TagContract
from edge_agent.execute import steps
from edge_agent.execute.gate.guards import CHAIN
from edge_agent.execute.gate.permit import evaluate
from edge_agent.execute.supervision import Supervision
from edge_agent.messages import Reading, Scalar

pytestmark = pytest.mark.anyio
Figure = Callable[..., None]

_TURNS = 25  # after somebody stepped in


@dataclass
class Moments:
    """Counts everything that the loop waits for; at one of these moments somebody steps in."""

    at: int = -1
    act: Callable[[], Awaitable[None]] | None = None
    count: int = 0
    happened: bool = False
    reading: str = ""  # what the loop was about when it happened

    async def pass_by(self, what: str) -> None:
        self.count += 1
        if self.count == self.at and self.act is not None:
            self.happened, self.reading = True, what
            await self.act()


@dataclass
class Interrupted(Plc):
    """A PLC whose every request is a moment, before it is carried out and after."""

    moments: Moments = field(default_factory=Moments)
    after: list[tuple[float, float]] = field(default_factory=list)  # from where to where: writes after somebody stepped in

    crossed: bool = False  # the write was the very next thing

    async def read(self, tag: str) -> Reading:
        await self.moments.pass_by(f"before reading {tag}")
        reading = await super().read(tag)
        await self.moments.pass_by(f"after reading {tag}")
        return reading

    async def describe(self, tag: str) -> TagContract:
        await self.moments.pass_by(f"describing {tag}")
        return await super().describe(tag)

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        if tag != "lease" and self.moments.happened:
            self.crossed = self.crossed or self.moments.count == self.moments.at
            self.after.append((float(self.values[tag]), float(value)))
        reply = await super().write(tag, value, timeout_s)
        await self.moments.pass_by(f"after writing {tag}")
        return reply


@dataclass
class InterruptedLedger(Ledger):
    """A commit takes time: somebody may step in while it is under way."""

    moments: Moments = field(default_factory=Moments)

    async def append(self, kind: str, payload: Mapping[str, Any], *, loop: str | None = None, blobs: Sequence[bytes] = ()) -> int:
        await self.moments.pass_by(f"before committing {kind}")
        seq = await super().append(kind, payload, loop=loop, blobs=blobs)
        await self.moments.pass_by(f"after committing {kind}")
        return seq


def interrupt(b: Rig) -> tuple[Interrupted, Moments]:
    """The rig, with every moment counted."""
    moments = Moments()
    b.plc.__class__, b.ledger.__class__ = Interrupted, InterruptedLedger
    plc: Any = b.plc
    plc.moments, plc.after, plc.crossed = moments, [], False
    vars(b.ledger)["moments"] = moments
    return plc, moments


async def changes_the_tag(b: Rig) -> None:
    b.plc.values["speed"] += 77.0


async def moves_the_base(b: Rig) -> None:
    b.plc.values["base"] -= 100.0


async def turns_the_local_switch(b: Rig) -> None:
    b.plc.values["running"] = False


async def touches_the_stop_file(b: Rig) -> None:
    b.stop_file.touch()


async def says_stop(b: Rig) -> None:
    await b.executor.stop(by="ann", reason="enough")


async def starts_a_newer_agent(b: Rig) -> None:
    b.health["newest_epoch"] = 4


HANDS = (changes_the_tag, moves_the_base, turns_the_local_switch, touches_the_stop_file, says_stop, starts_a_newer_agent)
BACK_TO_NEUTRAL = (moves_the_base,)  # here the trim is taken back, step by step: a way out, not against the operator


class Episode(NamedTuple):
    """Who stepped in when, and what was written against them."""

    hand: str
    moment: str
    against: list[tuple[float, float]]
    crossed: bool


async def episode(tmp_path: Path, seed: int) -> Episode:
    """One run: arm, work on, somebody steps in at a random moment."""
    chance = random.Random(seed)
    hand = HANDS[seed % len(HANDS)]
    b = rig(tmp_path)
    plc, moments = interrupt(b)
    await b.arm()
    await b.warm()
    goal = chance.choice((-100.0, -60.0, 50.0, 300.0))
    while not plc.writes or chance.random() < 0.8:
        await b.turn(trim(goal))
    moments.at, moments.act = moments.count + chance.randint(1, 60), partial(hand, b)
    turns = 0
    while turns < _TURNS:
        turns += moments.happened
        if chance.random() < 0.1:
            goal = chance.choice((-100.0, 0.0, 70.0))
        await b.turn(trim(goal), pass_s=chance.choice((0.2, 1.0)), fit=chance.random() > 0.03)
    assert len(plc.writes) > len(plc.after), "the loop was writing"
    against = plc.after if hand not in BACK_TO_NEUTRAL else [(old, new) for old, new in plc.after if abs(new) >= abs(old)]
    return Episode(hand.__name__, moments.reading, against, hand is changes_the_tag and plc.crossed)


async def overrides(tmp_path: Path, count: int) -> tuple[list[Episode], int]:
    """Episodes in which something was written against somebody; and how many writes crossed a hand on the wire."""
    episodes = []
    for seed in range(count):
        folder = tmp_path / str(seed)
        folder.mkdir()
        episodes.append(await episode(folder, seed))
    assert len({e.moment for e in episodes}) >= 5, "many kinds of moments"
    return [e for e in episodes if e.against and not e.crossed], sum(e.crossed for e in episodes)


def without_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: nobody looks for an operator any more."""

    async def blind(self: Supervision) -> None:
        pass

    monkeypatch.setattr(Supervision, "operators", blind)
    monkeypatch.setattr(steps, "evaluate", partial(evaluate, chain=[(name, guard) for name, guard in CHAIN if name != "operator"]))


async def never_against(tmp_path: Path, count: int, figure: Figure) -> None:
    found, crossed = await overrides(tmp_path, count)
    assert found == []
    assert crossed < count / 10
    figure("operator first", overrides=count, writes_after=0, crossed_on_the_wire=crossed)


async def test_sixty_overrides_at_random_moments_are_never_written_against(tmp_path: Path, figure: Figure) -> None:
    await never_against(tmp_path, 60, figure)


@pytest.mark.control
async def test_a_gate_that_does_not_look_for_operators_writes_against_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    without_the_operator(monkeypatch)
    found, _ = await overrides(tmp_path, 30)
    assert len(found) >= 5
    figure("operator first, control without the guard", overrides=30, written_against=len(found))


@pytest.mark.torture
@pytest.mark.timeout(1200)
async def test_a_thousand_overrides_at_random_moments_are_never_written_against(tmp_path: Path, figure: Figure) -> None:
    await never_against(tmp_path, 1000, figure)
