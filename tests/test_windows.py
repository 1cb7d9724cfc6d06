"""The short queue before a loop."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from edge_agent.messages import Window
from edge_agent.windows import Windows

pytestmark = pytest.mark.anyio


async def test_a_loop_that_cannot_keep_up_loses_the_oldest_and_it_is_counted() -> None:
    windows = Windows(bound=2)
    for i in range(5):
        windows.put(cast(Window, i))
    assert [await windows.next(0.1), await windows.next(0.1)] == [3, 4]
    assert windows.dropped == 3


async def test_nothing_comes_within_the_time() -> None:
    assert await Windows().next(0.001) is None


async def test_whoever_is_woken_looks_around_although_nothing_came() -> None:
    windows = Windows()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(windows.next(60))
        await asyncio.sleep(0)
        windows.wake()
    assert waiting.result() is None


async def test_a_window_that_comes_while_one_waits_is_had_at_once() -> None:
    windows = Windows()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(windows.next(60))
        await asyncio.sleep(0)
        windows.put(cast(Window, 7))
    assert waiting.result() == 7
