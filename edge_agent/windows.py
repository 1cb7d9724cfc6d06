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
        self._came = asyncio.Event()
        self.dropped = 0

    def put(self, window: Window) -> None:
        if len(self._queue) >= self.bound:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(window)
        self._came.set()

    async def next(self, wait_s: float) -> Window | None:
        """The oldest waiting window, or None if none comes within `wait_s`."""
        if not self._queue:
            self._came.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._came.wait()
            except TimeoutError:
                return None
        return self._queue.popleft()

    def __len__(self) -> int:
        return len(self._queue)
