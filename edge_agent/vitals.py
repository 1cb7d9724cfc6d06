"""Is the machine under us to be trusted right now? Clock steps, jitter of our own rounds, room on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.clock import Clock

_STEP_NS = 2_000_000_000  # the wall clock against the monotonic one; more is a step, less is NTP at work
_STEADY_S = 60.0  # how long after a step we still say so
_LOOK_S = 5.0  # between two looks at the disk
_ROUNDS = 200


class Vitals:
    """Beats once a round of the control process."""

    def __init__(self, clock: Clock, folder: Path, period_s: float) -> None:
        self._clock, self._folder, self._period_s = clock, folder, period_s
        self._offset_ns = clock.wall_ns() - clock.mono_ns()
        self._beat_ns = clock.mono_ns()
        self._stepped_ns: int | None = None
        self._late_s = [0.0] * _ROUNDS
        self._rounds = 0
        self._looked_ns = 0
        self._free: float | None = None
        self.steps = 0

    def beat(self) -> bool:
        """One round is done; True if the wall clock was set since the last one."""
        now_ns = self._clock.mono_ns()
        self._late_s[self._rounds % _ROUNDS] = max(0.0, (now_ns - self._beat_ns) / 1e9 - self._period_s)
        self._rounds += 1
        self._beat_ns = now_ns
        offset_ns = self._clock.wall_ns() - now_ns
        stepped = abs(offset_ns - self._offset_ns) > _STEP_NS
        self._offset_ns = offset_ns
        if stepped:
            self._stepped_ns = now_ns
            self.steps += 1
        return stepped

    @property
    def clock_stepped(self) -> bool:
        """Whether the wall clock was set within the last minute."""
        return self._stepped_ns is not None and self._clock.mono_ns() - self._stepped_ns < _STEADY_S * 1e9

    @property
    def jitter_s(self) -> float:
        """By how much the latest of the last rounds was late."""
        return max(self._late_s)

    @property
    def disk_free(self) -> float | None:
        """Bytes left for us on the state folder's disk; None if it cannot be told."""
        now_ns = self._clock.mono_ns()
        if self._looked_ns == 0 or now_ns - self._looked_ns > _LOOK_S * 1e9:
            self._looked_ns = now_ns
            try:
                disk = os.statvfs(self._folder)
                self._free = float(disk.f_bavail * disk.f_frsize)
            except OSError:
                self._free = None
        return self._free
