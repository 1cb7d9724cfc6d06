"""May a loop arm itself again after a restart? What is remembered for that, and what makes it be forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.decide.modes import Modes
from edge_agent.execute.executor import Executor
from edge_agent.memory import Memories, Memory
from edge_agent.messages import Mode

_log = logging.getLogger(__name__)
_WINDOWS = 3  # good ones in a row before a loop arms itself again
_PAUSE_NS = 5_000_000_000  # between two tries
_RETRY_NS = 1_000_000_000  # between two tries to save


@dataclass(slots=True, kw_only=True)
class Standing:
    """What stands of one loop over a restart. A person's no, a stop file, a fault, another model or configuration end it."""

    loop: str
    auto: bool  # the configuration says `rearm: auto`
    armed_as: str  # digest of what is configured now: model, loop, tags
    version: tuple[int, ...]  # of its model
    memory: Memory
    memories: Memories
    modes: Modes
    executor: Executor
    clock: Clock
    stop_file: Path
    ending: Callable[[], bool]  # the agent is on its way out: what it sheds now is armed again after the restart
    _seen: tuple[Mode, int | None] = (Mode.OBSERVE, None)
    _not_before_ns: int = 0
    _owed_ns: int | None = None  # when it could not be saved last
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._seen = (self.modes.mode, self.modes.until_ns)

    async def begin(self) -> None:
        """Take up what was saved: an arming holds only for what was armed."""
        if self.memory.armed_until_ns is not None and self.memory.armed_as != self.armed_as:
            _log.info("loop %s: its model or configuration is not the one that was armed; it observes", self.loop)
            await self.forget()
        if self.memory.armed_until_ns is not None and self.clock.wall_ns() < self.memory.armed_at_ns:
            _log.warning("loop %s: the clock stands before the time of its arming; it observes", self.loop)
            await self.forget()

    async def look(self, baseline: list[list[float]] | None) -> None:
        """After each round: arm again where that may be; save what changed."""
        if self.memory.armed_until_ns is not None and self._stopped():
            await self.forget()
        await self._rearm()
        seen = (self.modes.mode, self.modes.until_ns)
        if seen == self._seen and (baseline is None) == (self.memory.baseline is None) and not self._owing():
            return
        self.memory.baseline = baseline
        if seen != self._seen:
            self._note(self._seen[0], *seen)
        self._seen = seen
        await self.save()

    async def forget(self) -> None:
        """It does not arm itself again; on disk when this returns."""
        self.memory.armed_until_ns = None
        await self.save()

    async def save(self) -> None:
        """Trouble is logged, and tried again later: the loop goes on, but after a restart it must not arm itself because a person's
        no found the disk full."""
        try:
            async with self._saving:  # the last to save saves what stands then
                await asyncio.to_thread(self.memories.save, self.loop, replace(self.memory))
        except OSError as e:
            if self._owed_ns is None:
                _log.error("loop %s: what it must remember cannot be saved: %s", self.loop, e)
            self._owed_ns = self.clock.mono_ns()
        else:
            if self._owed_ns is not None:
                _log.warning("loop %s: what it must remember is saved", self.loop)
            self._owed_ns = None

    def _owing(self) -> bool:
        """Whether something waits to be saved, and it is time to try."""
        return self._owed_ns is not None and self.clock.mono_ns() - self._owed_ns >= _RETRY_NS

    def _note(self, before: Mode, mode: Mode, until_ns: int | None) -> None:
        if before is not mode:
            _log.info("loop %s: %s -> %s: %s", self.loop, before, mode, self.modes.reason)
        if mode is Mode.ARMED:
            self.memory.armed_version, self.memory.armed_as = self.version, self.armed_as
            self.memory.armed_at_ns = self.clock.wall_ns()
            self.memory.armed_until_ns = self.memory.armed_at_ns + (until_ns or 0) - self.clock.mono_ns()
        elif mode is not Mode.HOLD and not self.ending():
            self.memory.armed_until_ns = None

    async def _rearm(self) -> None:
        until_ns, now_ns = self.memory.armed_until_ns, self.clock.wall_ns()
        if not self.auto or until_ns is None or until_ns <= now_ns or self.modes.mode not in (Mode.OBSERVE, Mode.ADVISE):
            return
        if self.ending() or self.executor.good_windows < _WINDOWS or self.clock.mono_ns() < self._not_before_ns:
            return
        self._not_before_ns = self.clock.mono_ns() + _PAUSE_NS
        left_s = (until_ns - now_ns) / 1e9
        against = await self.executor.arm(by="agent", reason="armed before the restart", for_s=left_s, event="rearm")
        if against:
            _log.info("loop %s cannot be armed again yet: %s", self.loop, "; ".join(f"{f.guard}: {f.why}" for f in against))

    def _stopped(self) -> bool:
        """A stop file that cannot be looked for counts as there."""
        try:
            return self.stop_file.exists()
        except OSError:
            return True
