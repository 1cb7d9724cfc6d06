"""What keeps the parts of the agent alive, and stops them in the reverse order of their start?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edge_agent.clock import Clock

_log = logging.getLogger(__name__)

Part = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    crashes: int = 0
    last_error: str = ""
    stopping: bool = False


@dataclass(slots=True)
class Supervisor:
    """Runs named parts in one TaskGroup. A part that raises is logged, counted and started again after a back-off;
    a part that ends is done. Use as an async context manager."""

    clock: Clock
    backoff_s: float = 1.0
    backoff_max_s: float = 30.0
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _parts: dict[str, _Running] = field(default_factory=dict)

    async def __aenter__(self) -> Supervisor:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_all()
        await self._group.__aexit__(None, None, None)

    def start(self, name: str, part: Part) -> None:
        """Start a part under a name of its own."""
        if name in self._parts:
            raise ValueError(f"{name} is running already")
        task = self._group.create_task(self._keep(name, part), name=name)
        self._parts[name] = _Running(task)

    async def stop(self, name: str, within_s: float = 15.0) -> None:
        """Cancel a part and wait for its end."""
        running = self._parts.pop(name, None)
        if running is None:
            return
        running.task.cancel()
        _, late = await asyncio.wait({running.task}, timeout=within_s)
        if late:
            _log.error("%s did not stop within %g s", name, within_s)

    async def stop_all(self) -> None:
        """Stop everything, the last started first."""
        for name in reversed(list(self._parts)):
            await self.stop(name)

    def status(self) -> dict[str, dict[str, object]]:
        """Crashes per part."""
        return {name: {"crashes": p.crashes, "last_error": p.last_error} for name, p in self._parts.items()}

    async def _keep(self, name: str, part: Part) -> None:
        wait_s = self.backoff_s
        while True:
            started_ns = self.clock.mono_ns()
            try:
                await part()
            except Exception as e:  # noqa: BLE001 (the one place where a part's crash is caught: counted, logged, restarted)
                self._crashed(name, e)
            else:
                return
            if self.clock.mono_ns() - started_ns > 60e9:
                wait_s = self.backoff_s
            await self.clock.sleep(wait_s)
            wait_s = min(wait_s * 2, self.backoff_max_s)

    def _crashed(self, name: str, error: Exception) -> None:
        running = self._parts.get(name)
        if running is not None:
            running.crashes += 1
            running.last_error = f"{type(error).__name__}: {error}"
        _log.error("%s crashed and is started again: %s", name, error, exc_info=error)
