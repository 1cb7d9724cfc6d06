"""Is the agent still there? A counter in the PLC, written after each finished tick; when it stops, the PLC takes the trim back.

A heartbeat is the one write without an intent of its own: it moves nothing, and it beats only while the loop is active.
"""

from __future__ import annotations

import asyncio
from collections import deque

from edge_agent.clock import Clock
from edge_agent.contracts import Writable
from edge_agent.errors import PlantError
from edge_agent.execute.gate.values import number
from edge_agent.messages import Reading

_TOP = {"sbyte": 127, "byte": 255, "int8": 127, "uint8": 255}  # where the counter starts again; 32767 fits every other type
_REMEMBERED = 64  # own values: a subscription may show one that is a few beats old
_STRANGE = 3  # different values that are not ours, before we take them for a rival's: one may be left from an earlier run


class Lease:
    """The heartbeat of one lease tag."""

    def __init__(self, tag: str, port: Writable, *, every_s: float, clock: Clock, timeout_s: float = 2.0) -> None:
        self.tag = tag
        self._port, self._every_ns, self._clock, self._timeout_s = port, int(every_s * 1e9), clock, timeout_s
        self._count, self._top = 0, 32767
        self._last_ns: int | None = None
        self._ours: deque[int] = deque(maxlen=_REMEMBERED)
        self._strange: deque[float] = deque(maxlen=_STRANGE)
        self.missed = 0

    def of_type(self, device_type: str) -> None:
        """The device's type decides how far the counter may go."""
        self._top = _TOP.get(device_type.lower(), 32767)

    async def beat(self) -> bool:
        """Write the next count if it is due; whether the device took it."""
        now = self._clock.mono_ns()
        if self._last_ns is not None and now - self._last_ns < self._every_ns:
            return True
        self._last_ns = now
        self._count = self._count % self._top + 1
        self._ours.append(self._count)
        try:
            async with asyncio.timeout(self._timeout_s + 0.5):
                taken = (await self._port.write(self.tag, self._count, self._timeout_s)).status == "good"
        except (PlantError, TimeoutError, OSError):
            taken = False
        self.missed = 0 if taken else self.missed + 1
        return taken

    def contested(self, reading: Reading | None) -> bool:
        """Whether somebody else counts on our lease. 0 is a PLC that has just started."""
        value = number(reading.value) if reading is not None and reading.fit and self._ours else None
        if value is not None and value != 0 and value not in self._ours and value not in self._strange:
            self._strange.append(value)
        return len(self._strange) >= _STRANGE

    def forget(self) -> None:
        """A person has looked into it, or the loop is armed anew."""
        self._strange.clear()
