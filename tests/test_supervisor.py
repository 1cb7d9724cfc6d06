"""Parts are kept alive and stopped in reverse."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from edge_agent.clock import ManualClock
from edge_agent.supervisor import Supervisor

pytestmark = pytest.mark.anyio


async def test_a_part_that_crashes_is_started_again_after_a_growing_pause(clock: ManualClock) -> None:
    starts: list[float] = []
    done = asyncio.Event()

    async def part() -> None:
        starts.append(clock.mono_ns() / 1e9)
        if len(starts) < 4:
            raise RuntimeError("broken")
        done.set()

    async with Supervisor(clock) as supervisor:
        supervisor.start("part", part)
        await asyncio.wait_for(done.wait(), 5)
        crashes = supervisor.status()["part"]["crashes"]
    assert crashes == 3
    assert [round(b - a) for a, b in itertools.pairwise(starts)] == [1, 2, 4]


async def test_parts_stop_in_the_reverse_order_of_their_start(clock: ManualClock) -> None:
    stopped: list[str] = []

    def part(name: str, up: asyncio.Event) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            up.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(name)

        return run

    ups = [asyncio.Event() for _ in "abc"]
    async with Supervisor(clock) as supervisor:
        for name, up in zip("abc", ups, strict=True):
            supervisor.start(name, part(name, up))
        for up in ups:
            await asyncio.wait_for(up.wait(), 5)
    assert stopped == ["c", "b", "a"]


async def test_two_parts_of_one_name_are_refused(clock: ManualClock) -> None:
    async def part() -> None:
        await asyncio.Event().wait()

    async with Supervisor(clock) as supervisor:
        supervisor.start("x", part)
        with pytest.raises(ValueError, match="x is running already"):
            supervisor.start("x", part)
