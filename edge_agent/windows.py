"""Where do a loop's windows wait? A short queue: a loop that cannot keep up loses the oldest, and it is counted."""

from __future__ import annotations

import asyncio
from collections import deque

from edge_agent.messages import Window


class Windows:
    """Hands windows from the perceiver to one loop, both in the same asyncio loop."""

    def __init__(self, bound: int = 8) -> None:
        self._queue: deque[Window] = deque()
        self.bound = bound
        self._waiter: asyncio.Future[None] | None = None
        self.dropped = 0

    def put(self, window: Window) -> None:
        if len(self._queue) >= self.bound:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(window)
        self.wake()

    def wake(self) -> None:
        """End the wait for the next window, whether there is one or not."""
        if self._waiter is not None:
            _end(self._waiter)

    async def next(self, wait_s: float) -> Window | None:
        """The oldest waiting window, or None if none comes within `wait_s`. A bare future: a thousand loops wait here all the time."""
        if not self._queue:
            running = asyncio.get_running_loop()
            self._waiter = running.create_future()
            timer = running.call_later(wait_s, _end, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self._queue.popleft() if self._queue else None

    def __len__(self) -> int:
        return len(self._queue)


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
