"""What does the PLC let others do? The contract block: base setpoint, bounded trim, lease, remote/local, trip.

A real PLC has these few networks in its own program; the agent cannot get around them. The trim is a lease: while the lease
counter moves, the trim holds; when it stops, the PLC takes the trim back by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "out of range", "not remote", "alarm", "not a number"]

SCAN_S = 0.1
TRIM_LIMITS = (-400.0, 400.0)  # rpm
TRIM_RAMP = 60.0  # rpm/s
LEASE_S = 3.0
DRIVE_RAMP = 400.0  # rpm/s: what the frequency converter allows
BASE_LIMITS = (1500.0, 3200.0)  # rpm
DRY_FLOW = 4.0  # l/min: below this for DRY_S the pump is taken to run dry
DRY_S = 5.0
LOW_LEVEL = 0.25  # m


@dataclass(slots=True)
class Plc:
    """One scan each SCAN_S. Starts remote, running, up to speed."""

    base: float = 2900.0
    remote: bool = True
    running: bool = True
    alarm: bool = False
    setpoint: float = 0.0  # the trim as it was accepted
    applied: float = 0.0  # the trim as it is, on its ramp
    speed: float = 2900.0
    lease: int = 0
    lease_lost: int = 0  # how often a trim was taken back because its lease had stopped
    _lease_age: int = 0  # scans
    _dry: int = 0  # scans

    @property
    def active(self) -> bool:
        """TrimActive: a trim was accepted and its lease is alive."""
        return self.setpoint != 0.0

    def write_trim(self, value: float) -> Verdict:
        """Accept or refuse; never clamp. Accepting starts the lease anew."""
        if value != value:
            return "not a number"
        if not TRIM_LIMITS[0] <= value <= TRIM_LIMITS[1]:
            return "out of range"
        if value != 0.0 and not self.remote:
            return "not remote"
        if value != 0.0 and self.alarm:
            return "alarm"
        self.setpoint, self._lease_age = value, 0
        return "good"

    def write_lease(self, value: int) -> Verdict:
        """A new value keeps the lease alive; the same value again does not."""
        if value != self.lease:
            self.lease, self._lease_age = value, 0
        return "good"

    def scan(self, flow_l_min: float, level_m: float) -> None:
        """One cycle of the program."""
        self._watch_lease()
        self._watch_trip(flow_l_min, level_m)
        if not self.remote or self.alarm:
            self.setpoint = 0.0
        self.applied = _toward(self.applied, self.setpoint, TRIM_RAMP * SCAN_S)
        wanted = self.base + self.applied if self.running else 0.0
        self.speed = _toward(self.speed, wanted, DRIVE_RAMP * SCAN_S)

    def reset(self) -> None:
        """A person acknowledges the alarm and starts the pump."""
        self.alarm, self.running, self._dry = False, True, 0

    def _watch_lease(self) -> None:
        self._lease_age += 1
        if self.setpoint and self._lease_age > round(LEASE_S / SCAN_S):
            self.setpoint = 0.0
            self.lease_lost += 1

    def _watch_trip(self, flow_l_min: float, level_m: float) -> None:
        up_to_speed = self.running and self.speed > 0.5 * self.base
        self._dry = self._dry + 1 if up_to_speed and flow_l_min < DRY_FLOW else 0
        if self._dry > round(DRY_S / SCAN_S) or level_m < LOW_LEVEL:
            self.alarm, self.running = True, False


def _toward(value: float, target: float, reach: float) -> float:
    return value + min(max(target - value, -reach), reach)
