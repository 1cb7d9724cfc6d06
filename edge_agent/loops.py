"""One running loop of the live agent: its turns, what they cost, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.config.model import Loop as Configured
from edge_agent.health import Health
from edge_agent.loop import Loop, Turn
from edge_agent.messages import Outcome

_log = logging.getLogger(__name__)

_WRITE_S = 10.0  # reads, a write and their time-outs, beside the time to verify it
_BUSY_S = 30.0  # another loop may be writing to the same device
_ROUND_S = 0.25  # how often a loop looks after what is under way, whether windows come or not
_REST_S = 2.0  # the same where nothing is under way: a thousand loops that only watch must not cost a core
_SHED_S = 30.0
_LOOK_NS = 20_000_000  # between two looks where windows come faster; no permit is given without a look of its own


class Sheds(Protocol):
    """An executor that can take back what it did."""

    async def shed(self, reason: str, timeout_s: float) -> bool: ...


@dataclass(slots=True)
class Counts:
    """What came of a loop's turns."""

    turns: int = 0
    errors: int = 0
    writes: int = 0
    refusals: int = 0
    last_error: str = ""
    turn_s: float = 0.0  # cut of the newest window to the end of its turn
    last: Turn | None = None


@dataclass(slots=True)
class Runner:
    """Runs a loop until it is told to end; then it sheds, so that nothing of ours stays on the plant."""

    loop: Loop
    clock: Clock
    health: Health
    executor: Sheds
    after_round: Callable[[], Awaitable[None]]
    at_rest: Callable[[], bool]  # nothing is under way that time alone could change
    patience_s: float = 15.0  # how long a round may take before the loop counts as stuck
    counts: Counts = field(default_factory=Counts)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # a turn and a person's wish do not overlap
    ending: str = ""  # why it ends
    looked_ns: int = -_LOOK_NS  # after what is under way

    def end(self, reason: str) -> None:
        """Ask it to shed and end."""
        self.ending = self.ending or reason
        self.loop.perceive.wake()

    @asynccontextmanager
    async def between_turns(self) -> AsyncIterator[None]:
        """For a person's wish: no turn meanwhile, and afterwards the loop looks around at once."""
        async with self.lock:
            yield
        self.loop.perceive.wake()

    async def run(self) -> None:
        """Turn after turn. An error in a turn is counted and logged once a kind; the gate has seen to it that nothing left."""
        name = f"loop {self.loop.name}"
        self.ended.clear()
        self.health.expect(name, self.patience_s)
        try:
            while not self.ending:
                await self._round()
                self.health.progress(name)
            self.health.expect(name, _SHED_S + self.patience_s)
            if not await self.executor.shed(self.ending, timeout_s=_SHED_S):
                _log.error("%s: its trim could not be taken back within %g s; the PLC takes it back as the lease ends", name, _SHED_S)
        finally:
            self.health.forget(name)
            self.ended.set()

    async def _round(self) -> None:
        try:
            window = await self.loop.perceive.next(_REST_S if self.at_rest() else _ROUND_S)
            async with self.lock:
                if window is not None:
                    await self.loop.turn(window)
                if window is None or self.clock.mono_ns() - self.looked_ns >= _LOOK_NS:
                    await self._look()
        except Exception as e:  # noqa: BLE001 (one turn of a loop: counted, logged; the others and the next turn go on)
            self._failed(e)
            await self.clock.sleep(_ROUND_S)

    async def _look(self) -> None:
        self.looked_ns = self.clock.mono_ns()
        self.counts.writes += _written(await self.loop.look())
        await self.after_round()

    def _failed(self, error: Exception) -> None:
        self.counts.errors += 1
        said = f"{type(error).__name__}: {error}"
        if said != self.counts.last_error:
            _log.error("loop %s: a turn failed: %s", self.loop.name, said, exc_info=error)
        self.counts.last_error = said

    def watch(self, turn: Turn) -> None:
        """Take note of a turn."""
        counts = self.counts
        counts.turns += 1
        counts.last = turn
        counts.turn_s = (self.clock.mono_ns() - turn.window.mono_ns) / 1e9
        counts.writes += _written(turn.outcomes)
        counts.refusals += sum(outcome.intent is None for outcome in turn.outcomes)


def _written(outcomes: Sequence[Outcome]) -> int:
    """How many writes left for the plant; what became of one later is not another."""
    return sum(outcome.write_ms is not None for outcome in outcomes)


def patience_s(config: Configured) -> float:
    """How long a round of this loop may take: its model's deadline, and for each tag a write with its read-back."""
    writes = config.execute.values()
    return 15.0 + config.diagnose.timeout + sum(_WRITE_S + write.verify.within for write in writes) + (_BUSY_S if writes else 0.0)
