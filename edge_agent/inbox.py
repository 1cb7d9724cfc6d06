"""How do samples get from the connectors' threads into the control process's asyncio loop?"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.messages import Gap, LinkState, Sample


class Samples(NamedTuple):
    """A batch, and what to call once it may be acknowledged."""

    batch: Sequence[Sample]
    committed: Callable[[], None] | None


@dataclass(slots=True)
class _Loss:
    """What one connector lost since the inbox ran full."""

    lost: int = 0
    tags: set[str] = field(default_factory=set)
    start_ns: int = 0
    end_ns: int = 0
    declare_at: int = 0  # how many samples have to be taken before the episode counts as over

    def add(self, batch: Sequence[Sample]) -> None:
        self.tags.update(sample.tag for sample in batch)
        self.start_ns = min(self.start_ns or batch[0].source_ns, batch[0].source_ns)
        self.end_ns = max(self.end_ns, batch[-1].source_ns)
        self.lost += len(batch)

    def gap(self, connector: str) -> Gap:
        tag = self.tags.pop() if len(self.tags) == 1 else None
        reason = "the agent could not keep up: its inbox was full"
        return Gap(connector=connector, tag=tag, start_ns=self.start_ns, end_ns=self.end_ns, reason=reason, lost=self.lost)


@dataclass(frozen=True, slots=True)
class Alive:
    """A connector's device says that nothing has changed."""

    connector: str
    mono_ns: int


Event = Samples | Gap | LinkState | Alive


class Inbox:
    """A contracts.Sink for any thread. Bounded by samples: when full, a new batch is dropped, counted, and never
    acknowledged, so that a broker keeps it. What nobody keeps is declared as a gap, one for each time the inbox ran full."""

    def __init__(self, bound: int = 200_000) -> None:
        self._events: deque[Event] = deque()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()  # the loop's: what comes from there needs no letter to itself
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False
        self._counting = threading.Lock()
        self._waiting = 0  # samples
        self.bound = bound
        self.dropped = 0
        self._taken = 0
        self._lost: dict[str, _Loss] = {}
        self.taker: Callable[[Event], None] | None = None  # takes what comes from the loop's own thread at once
        self._failure: Exception | None = None

    def of(self, connector: str) -> Source:
        """The sink for one connector: a gap names whose samples were lost."""
        return Source(self, connector)

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None, connector: str = "") -> None:
        if len(batch) <= self.bound and (taker := self._at_once()) is not None:
            self._taken += len(batch)
            self._hand_over(Samples(batch, committed), taker)
            return
        with self._counting:
            full = self._waiting + len(batch) > self.bound
            if full:
                self.dropped += len(batch)
                if batch and committed is None:
                    self._lose(batch, connector)
            else:
                self._waiting += len(batch)
        if not full:
            self._put(Samples(batch, committed))

    def gap(self, gap: Gap) -> None:
        self._put(gap)

    def link(self, state: LinkState) -> None:
        self._put(state)

    def alive(self, connector: str, mono_ns: int) -> None:
        if len(self._events) < self.bound:  # the next one says the same
            self._put(Alive(connector, mono_ns))

    def _put(self, event: Event) -> None:
        if not isinstance(event, Samples) and (taker := self._at_once()) is not None:
            self._hand_over(event, taker)
            return
        self._events.append(event)
        if not self._woken:
            self._woken = True
            if threading.get_ident() == self._thread:
                self._wake()
            else:
                self._loop.call_soon_threadsafe(self._wake)

    def _at_once(self) -> Callable[[Event], None] | None:
        """Who takes what comes on the loop's own thread while nothing waits before it (no gap either): on the spot, by no other task."""
        if self._events or self._lost or threading.get_ident() != self._thread:
            return None
        return self.taker

    def _hand_over(self, event: Event, taker: Callable[[Event], None]) -> None:
        try:
            taker(event)
        except Exception as e:  # noqa: BLE001 (a defect of the taker's, not of the connector's that called us: `wait` raises it)
            self._failure = e
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose(self, batch: Sequence[Sample], connector: str) -> None:
        loss = self._lost.get(connector)
        if loss is None:
            loss = self._lost[connector] = _Loss(declare_at=self._taken + self._waiting)
        loss.add(batch)

    def _declare(self) -> list[Event]:
        """The gaps of all episodes that are over: everything that waited when they began has been taken."""
        over = [connector for connector, loss in self._lost.items() if self._taken >= loss.declare_at]
        return [self._lost.pop(connector).gap(connector) for connector in over]

    async def wait(self, wait_s: float) -> None:
        """Return when something came, or after `wait_s`. Raises what the taker raised. A bare future: it is waited for all the time."""
        if self._events:
            await asyncio.sleep(0)  # more than was drained at once: the others have their turn first
        elif self._failure is None:
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(wait_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def drain(self, most: int = 256) -> list[Event]:
        """What came, oldest first; at most `most` events, so that nobody else starves."""
        self._woken = False
        events: list[Event] = []
        taken = 0
        while self._events and len(events) < most:
            event = self._events.popleft()
            if isinstance(event, Samples):
                taken += len(event.batch)
            events.append(event)
        with self._counting:
            self._waiting -= taken
            self._taken += taken
            events += self._declare()
        return events

    @property
    def waiting(self) -> int:
        """Samples not yet taken."""
        return self._waiting


@dataclass(frozen=True, slots=True)
class Source:
    """One connector's way into the inbox; a contracts.Sink."""

    inbox: Inbox
    connector: str

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        self.inbox.samples(batch, committed, self.connector)

    def gap(self, gap: Gap) -> None:
        self.inbox.gap(gap)

    def link(self, state: LinkState) -> None:
        self.inbox.link(state)

    def alive(self, connector: str, mono_ns: int) -> None:
        self.inbox.alive(connector, mono_ns)
