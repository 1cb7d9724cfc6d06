"""Does a loop go on while the disk is at work?"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from edge_agent.clock import ManualClock
from edge_agent.config.model import Loop
from edge_agent.feedback.backlog import TURNS, Backlog
from edge_agent.feedback.link import Feedback

pytestmark = pytest.mark.anyio
CONFIG = Loop.model_validate({"perceive": {"tags": ["flow"], "window": 4}, "diagnose": {"model": "m"}, "decide": {}})


class SlowDisk:
    """A journal that commits when it is let."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.records: list[tuple[str, str | None, Mapping[str, Any]]] = []
        self.healthy = True

    async def append(self, kind: str, payload: Mapping[str, Any], *, loop: str | None = None, blobs: Sequence[bytes] = ()) -> int:
        await self.free.wait()
        self.records.append((kind, loop, payload))
        return len(self.records)


async def test_a_turn_does_not_wait_for_the_disk(clock: ManualClock, turns: Any) -> None:
    disk, backlog = SlowDisk(), Backlog()
    link = Feedback("p1", CONFIG, disk, clock, backlog)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(backlog.run())
        for seq, state in enumerate(["normal", "relief", "normal"]):
            await link.record(turns.window(seq), turns.diagnosis(seq), turns.decision(seq, state), ())
        assert disk.records == []
        assert link.status()["waiting"] == 3
        disk.free.set()
        await backlog.drained()
        running.cancel()
    assert [payload["state"] for kind, _, payload in disk.records if kind == "decision"] == ["normal", "relief", "normal"]


async def test_a_turn_that_leaves_nothing_behind_does_not_pass_those_that_wait(clock: ManualClock, turns: Any) -> None:
    disk, backlog = SlowDisk(), Backlog()
    link = Feedback("p1", CONFIG, disk, clock, backlog)
    await link.record(turns.window(1), turns.diagnosis(1), turns.decision(1), ())
    await link.record(turns.window(2), turns.diagnosis(2), turns.decision(2), ())
    assert link.status()["waiting"] == 2


async def test_a_loop_that_the_disk_cannot_follow_waits_for_it_and_the_others_do_not() -> None:
    backlog, free = Backlog(), asyncio.Event()
    done: list[str] = []

    async def work(name: str) -> None:
        await free.wait()
        done.append(name)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(backlog.run())
        for i in range(TURNS):
            await backlog.put("fast", lambda i=i: work(f"fast {i}"))  # type: ignore[misc]
        more = group.create_task(backlog.put("fast", lambda: work("fast and late")))
        await asyncio.sleep(0)
        await backlog.put("other", lambda: work("other"))
        assert not more.done()
        free.set()
        await more
        await backlog.drained()
        running.cancel()
    assert [name for name in done if name != "other"] == [*(f"fast {i}" for i in range(TURNS)), "fast and late"]
    assert "other" in done


async def test_a_defect_in_one_loops_writing_costs_the_others_nothing() -> None:
    backlog = Backlog()
    done: list[str] = []

    async def well() -> None:
        done.append("well")

    async def broken() -> None:
        raise KeyError("a defect")

    await backlog.put("broken", broken)
    await backlog.put("well", well)
    with pytest.raises(KeyError):
        await backlog.run()
    assert done == ["well"]
    assert backlog.idle("broken")
    assert backlog.idle("well")
