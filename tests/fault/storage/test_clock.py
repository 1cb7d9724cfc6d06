"""The wall clock is set while the agent works, or stood wrong when it booted: order, values and writes do not follow it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_agent import WholeAgent, until

from edge_agent import vitals
from edge_agent.clock import SystemClock
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.feedback.verify import verify
from edge_agent.messages import Mode, Quality
from tests.agent.conftest import Rig, Running

Figure = Callable[..., None]
HOUR, DAY, YEAR = 3600.0, 86400.0, 365.25 * 86400.0
STEPS = {"-1 h": -HOUR, "+1 day": DAY, "-10 years": -10 * YEAR, "+10 min": 600.0}
BOOTS = {"1970": 3600.0, "2038": 2.0**31 - 3.0}  # seconds since 1970; 2038 passes the 31-bit limit three seconds later
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("/usr/lib/faketime"))
STEADY_S = 1.5  # instead of a minute

longer = [pytest.mark.torture, pytest.mark.timeout(120)]


class SetClock(SystemClock):
    """The machine's clock, but somebody sets it."""

    def __init__(self, now_s: float | None = None) -> None:
        self._ahead_ns = 0 if now_s is None else int(now_s * 1e9) - time.time_ns()

    def wall_ns(self) -> int:
        return super().wall_ns() + self._ahead_ns

    def step(self, seconds: float) -> None:
        self._ahead_ns += int(seconds * 1e9)


def recording(rig: Rig) -> Rig:
    """Every value of two tags goes into the ledger, and a value older than a second is stale."""
    for tag in ("flow", "level"):
        rig.said["tags"][tag] |= {"record": True, "max_age": "1 s"}
    return rig


def healthy(page: dict[str, Any]) -> list[str]:
    """What is wrong with the tags that matter."""
    wrong = []
    for name in ("flow", "level"):
        tag = page["tags"][name]
        if tag["out_of_order"] or tag["duplicates"] or tag["quality"] & (Quality.STALE | Quality.FUTURE | Quality.GAP):
            wrong.append(f"{name}: {tag}")
    return wrong


async def watched(run: Running, seconds: float) -> list[str]:
    """Look at the tags all the time."""
    wrong: list[str] = []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        wrong += healthy(run.agent.page())
        await asyncio.sleep(0.02)
    return wrong


def in_order(rig: Rig) -> int:
    """The number of recorded values; each tag's in the order in which it came, by monotonic time and seq."""
    with Reader(rig.state / "ledger") as reader:
        rows = reader.after(Cursor(), 10_000_000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert all(a.mono_ns <= b.mono_ns for a, b in itertools.pairwise(rows) if a.epoch == b.epoch)
    assert verify(rig.state / "ledger").findings == []
    return sum(row.kind == "sample" for row in rows)


async def stepped(rig: Rig, monkeypatch: pytest.MonkeyPatch, step_s: float) -> dict[str, Any]:
    """Armed, set the clock, ask for a write: it has to wait until the clock is steady, and nothing else may change."""
    monkeypatch.setattr(vitals, "_STEADY_S", STEADY_S)
    clock = SetClock()
    async with recording(rig).running(clock=clock) as run:
        await run.turns("p1", 5)
        await run.ops.arm({"loop": "p1", "by": "ann", "reason": "test", "for": "1h"})
        turns = run["p1"].runner.counts.turns
        clock.step(step_s)
        await run.until(lambda: run.agent.vitals.clock_stepped, "the step to be noticed", 2)
        began = time.monotonic()
        await run.set("fault", 5.0)
        wrong = await watched(run, STEADY_S * 0.8)
        assert run["p1"].runner.counts.writes == 0, "writes wait until the clock is steady"
        assert run["p1"].runner.counts.refusals > 0, "one was wanted"
        await run.until(lambda: run["p1"].runner.counts.writes > 0, "the write, once the clock is steady", 10)
        waited = time.monotonic() - began
        assert waited >= STEADY_S * 0.9
        wrong += healthy(run.agent.page())
        assert wrong == []
        assert run["p1"].modes.mode is Mode.ARMED
        assert run["p1"].runner.counts.turns - turns > 20, "progress was made"
        taken = sum(run.agent.page()["tags"][name]["samples"] for name in ("flow", "level"))
    kept = in_order(rig)
    assert kept >= taken, "each value that was taken is in the ledger"
    return {"values": kept, "writes_waited": f"{waited:.1f} s of {STEADY_S} s"}


@pytest.mark.anyio
@pytest.mark.parametrize("step", ["-1 h", *(pytest.param(s, marks=longer) for s in STEPS)])
async def test_a_step_changes_no_order_and_loses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch, step: str, figure: Figure) -> None:
    figure(f"clock, {step}", **await stepped(rig, monkeypatch, STEPS[step]), wrong_order=0, lost=0, falsely_stale=0)


@pytest.mark.anyio
@pytest.mark.control
async def test_an_agent_that_does_not_look_for_steps_writes_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setattr(vitals.Vitals, "clock_stepped", property(lambda self: self.steps == -1))
    clock = SetClock()
    async with rig.running(clock=clock) as run:
        await run.turns("p1", 5)
        await run.ops.arm({"loop": "p1", "by": "ann", "reason": "test", "for": "1h"})
        clock.step(-HOUR)
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].runner.counts.writes > 0, "a write", 5)
    figure("clock, control without the look for steps", writes="at once")


@pytest.mark.anyio
@pytest.mark.parametrize("boot", [pytest.param(b, marks=longer) for b in BOOTS])
async def test_it_boots_in_any_year_and_goes_on_when_the_clock_is_set_right(rig: Rig, boot: str, figure: Figure) -> None:
    clock = SetClock(BOOTS[boot])
    async with recording(rig).running(clock=clock) as run:
        await run.turns("p1", 5)
        wrong = await watched(run, 4.0)
        clock.step(time.time() - clock.wall_ns() / 1e9)
        wrong += await watched(run, 2.0)
        await run.turns("p1", 5)
        assert wrong == []
    first = in_order(rig)
    async with rig.running(clock=SystemClock()) as run:  # the clock is right now, and the ledger goes on
        await run.turns("p1", 5)
    assert in_order(rig) > first
    figure(f"clock, boot in {boot}", values=in_order(rig), wrong_order=0, lost=0, falsely_stale=0)


# ---------------------------------------------------------------- the whole process, under Debian's libfaketime


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[WholeAgent]:
    made = WholeAgent(tmp_path)
    yield made
    made.kill()


def fake(folder: Path, said: str) -> dict[str, str]:
    """libfaketime that reads its offset anew at each call."""
    if not FAKETIME.exists():
        pytest.fail("not installed: libfaketime: run `make counterparts`")
    (folder / "faketime").write_text(said)
    always = {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(folder / "faketime"), **always}


@pytest.mark.torture
@pytest.mark.timeout(180)
def test_the_real_process_lives_through_steps_under_libfaketime(agent: WholeAgent, figure: Figure) -> None:
    agent.start_control(preload=fake(agent.folder, "+0"))
    until("the loop to be armed", agent.arm)
    for n, said in enumerate(("-1h", "+1d", "-10y", "+0"), 1):
        part = agent.folder / "faketime.new"
        part.write_text(said)
        part.replace(agent.folder / "faketime")
        until(f"step {n} ({said}) to be noticed", lambda n=n: agent.ask(do="status").get("machine", {}).get("clock_steps", 0) >= n)
        turns, acknowledged = agent.loop()["turns"], agent.newest_acknowledged()
        until("the loop to turn after it", lambda turns=turns: agent.loop()["turns"] > turns + 3)
        until("records after it", lambda a=acknowledged: agent.newest_acknowledged() > a + 20)
    tags = agent.ask(do="status")["tags"]
    assert {name: tag["out_of_order"] for name, tag in tags.items() if tag["out_of_order"]} == {}
    assert agent.stop() == 0
    assert verify(agent.state / "ledger").findings == []
    assert agent.acknowledged() - agent.recorded() == set()
    with Reader(agent.state / "ledger") as reader:
        rows = reader.after(Cursor(), 10_000_000)
    years = {time.gmtime(row.wall_ns / 1e9).tm_year for row in rows}
    assert len(years) > 1, "the fault bites: the records' wall times are ten years apart"
    noticed = sum(payload_of(row).get("event") == "clock stepped" for row in rows if row.kind == "agent")
    figure("clock, libfaketime", steps_noticed=noticed, batches=len(agent.acknowledged()), wrong_order=0, lost=0)
