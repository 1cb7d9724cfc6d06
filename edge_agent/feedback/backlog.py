"""Where do turns wait for the disk, so that the next turn of their loop does not? Bounded for each loop; in order within a loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

TURNS = 16  # of one loop that may wait; then the loop waits, and its windows are dropped and counted
_TOGETHER = 64  # loops whose turns share commits

Work = Callable[[], Awaitable[None]]


class Backlog:
    """Carries out the writing of many loops. One for an agent; `run` is a part of it."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Work]] = {}
        self._busy: dict[str, int] = {}  # turns of a loop that are being written
        self._came = asyncio.Event()
        self._went = asyncio.Event()

    def idle(self, loop: str) -> bool:
        """Nothing of this loop waits or is being written."""
        return loop not in self._waiting and loop not in self._busy

    def waiting(self, loop: str) -> int:
        """Turns of this loop that are not on disk."""
        return len(self._waiting.get(loop, ())) + self._busy.get(loop, 0)

    async def put(self, loop: str, work: Work) -> None:
        """Queue a turn's writing; waits while this loop has too much waiting."""
        while self.waiting(loop) >= TURNS:
            self._went.clear()
            await self._went.wait()
        self._waiting.setdefault(loop, deque()).append(work)
        self._came.set()

    async def run(self) -> None:
        """Until cancelled: many loops at once, so that they share commits."""
        while True:
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
            await self._some()

    async def drained(self) -> None:
        """Return when nothing waits any more; `run` goes on meanwhile."""
        while self._waiting or self._busy:
            self._went.clear()
            await self._went.wait()

    async def _some(self) -> None:
        taken = {loop: self._waiting.pop(loop) for loop in list(self._waiting)[:_TOGETHER]}
        self._busy.update({loop: len(works) for loop, works in taken.items()})
        ended = await asyncio.gather(*(self._in_order(loop, works) for loop, works in taken.items()), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error  # a defect of ours: the supervisor counts it, logs it, and starts again with what waits

    async def _in_order(self, loop: str, works: deque[Work]) -> None:
        """One loop's turns, one after the other."""
        try:
            for work in works:
                await work()
                self._busy[loop] -= 1
                self._went.set()
        finally:
            del self._busy[loop]
            self._went.set()
