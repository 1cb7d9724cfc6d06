"""What did a connector deliver, and when? A sink that remembers, and the questions that a test asks of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_agent.messages import Gap, LinkState, Sample


@dataclass
class Watch:
    """A sink for one connector; commits at once."""

    all: list[Sample] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    links: list[LinkState] = field(default_factory=list)
    newest_ns: dict[str, int] = field(default_factory=dict)  # tag -> newest source time
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        with self._lock:
            self.all += batch
            for sample in batch:
                self.newest_ns[sample.tag] = max(self.newest_ns.get(sample.tag, 0), sample.source_ns)
        if committed is not None:
            committed()

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)

    def link(self, state: LinkState) -> None:
        self.links.append(state)

    def alive(self, connector: str, mono_ns: int) -> None:
        pass

    def of(self, tag: str) -> list[Sample]:
        return [s for s in list(self.all) if s.tag == tag]

    @property
    def state(self) -> str:
        return self.links[-1].state if self.links else ""

    def covered(self, tag: str, source_ns: int, slack_ns: int = 0) -> bool:
        """Whether a value of this moment was declared missing."""
        return any(g.tag in (None, tag) and g.start_ns - slack_ns <= source_ns <= g.end_ns + slack_ns for g in self.gaps)

    async def until(self, what: str, found: Callable[[], Any], within_s: float) -> float:
        """Seconds until it was so."""
        start = time.monotonic()
        while not found():
            waited = time.monotonic() - start
            assert waited < within_s, f"{what}: not within {within_s} s; {self.links[-4:]} {self.gaps[-3:]} {self.all[-2:]}"
            await asyncio.sleep(0.005)
        return time.monotonic() - start

    async def fresh(self, tag: str, since_ns: int, within_s: float) -> float:
        """Seconds until a value came that the device took after this wall time."""
        return await self.until(f"a new value of {tag}", lambda: self.newest_ns.get(tag, 0) > since_ns, within_s)


@asynccontextmanager
async def delivering(connector: Any, watch: Watch) -> AsyncIterator[None]:
    """Run a connector until the end of the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(connector.run(watch))
        try:
            yield
        finally:
            task.cancel()


@dataclass
class Calls:
    """Asks a connector for one thing after the other, and keeps how long the slowest answer took."""

    longest_s: float = 0.0
    answered: int = 0
    failed: int = 0

    async def run(self, calls: Mapping[str, Callable[[], Any]], every_s: float) -> None:
        """Until cancelled. A refusal is an answer; so is PlantError."""
        from edge_agent.errors import PlantError

        while True:
            for call in calls.values():
                start = time.monotonic()
                try:
                    reply = await call()
                    good = getattr(reply, "status", "good") == "good"
                except (PlantError, TimeoutError, OSError):
                    good = False
                self.answered += good
                self.failed += not good
                self.longest_s = max(self.longest_s, time.monotonic() - start)
            await asyncio.sleep(every_s)
