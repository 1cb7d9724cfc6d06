"""How do samples get from the connectors' threads into the control process's asyncio loop?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.messages import Gap, LinkState, Sample


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch, and what to call once it may be acknowledged."""

    batch: Sequence[Sample]
    committed: Callable[[], None] | None


@dataclass(frozen=True, slots=True)
class Alive:
    """A connector's device says that nothing has changed."""

    connector: str
    mono_ns: int


Event = Samples | Gap | LinkState | Alive


class Inbox:
    """A contracts.Sink for any thread. Bounded by samples: when full, a new batch is dropped, counted, and never
    acknowledged, so that a broker keeps it."""

    def __init__(self, bound: int = 200_000) -> None:
        self._events: deque[Event] = deque()
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._woken = False
        self._bound = bound
        self._waiting = 0  # samples; written by many threads, so it may be off by a batch: the bound is soft
        self.dropped = 0

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        if self._waiting + len(batch) > self._bound:
            self.dropped += len(batch)
            return
        self._waiting += len(batch)
        self._put(Samples(batch, committed))

    def gap(self, gap: Gap) -> None:
        self._put(gap)

    def link(self, state: LinkState) -> None:
        self._put(state)

    def alive(self, connector: str, mono_ns: int) -> None:
        self._put(Alive(connector, mono_ns))

    def _put(self, event: Event) -> None:
        self._events.append(event)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._came.set)

    async def wait(self, wait_s: float) -> None:
        """Return when something came, or after `wait_s`."""
        try:
            async with asyncio.timeout(wait_s):
                await self._came.wait()
        except TimeoutError:
            return

    def drain(self, most: int = 256) -> list[Event]:
        """What came, oldest first; at most `most` events, so that nobody else starves."""
        self._woken = False
        self._came.clear()
        events: list[Event] = []
        while self._events and len(events) < most:
            event = self._events.popleft()
            if isinstance(event, Samples):
                self._waiting -= len(event.batch)
            events.append(event)
        if self._events:
            self._came.set()
        return events

    @property
    def waiting(self) -> int:
        """Samples not yet taken."""
        return max(self._waiting, 0)
