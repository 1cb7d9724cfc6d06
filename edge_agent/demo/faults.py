"""What can go wrong at the plant, and how far has it gone? Each fault has a severity that ramps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

ProcessFault = Literal["suction_valve", "discharge_valve", "cavitation", "imbalance", "leak"]
SensorFault = Literal["stuck", "nan", "late", "dropout"]

PROCESS: tuple[str, ...] = get_args(ProcessFault)
SENSOR: tuple[str, ...] = get_args(SensorFault)
SIGNALS = ("flow", "pressure_in", "pressure_out", "current", "motor_temp", "fluid_temp", "speed", "tank_level", "vibration")


@dataclass(slots=True)
class Ramp:
    """A severity on its way from where it was to where it shall be."""

    level: float = 0.0
    target: float = 0.0
    per_s: float = 0.0

    def aim(self, target: float, ramp_s: float) -> None:
        """Reach the target in this many seconds, from wherever it is now."""
        self.target = target
        self.per_s = abs(target - self.level) / ramp_s if ramp_s > 0 else float("inf")

    def advance(self, dt: float) -> float:
        """Move on, and say where it is."""
        reach = self.per_s * dt
        self.level += min(max(self.target - self.level, -reach), reach)
        return self.level


@dataclass(slots=True)
class Faults:
    """All faults of one plant. A fault's key is its name, or (name, signal) for a sensor's."""

    ramps: dict[str | tuple[str, str], Ramp] = field(default_factory=dict)

    def inject(self, fault: str, *, severity: float, ramp_s: float = 0.0, signal: str | None = None) -> None:
        """Let a fault grow to this severity (0..1); a severity of 0 lets it go away. ValueError if there is no such fault."""
        if not 0.0 <= severity <= 1.0:
            raise ValueError(f"severity {severity} is not between 0 and 1")
        if not 0.0 <= ramp_s <= 3600.0:
            raise ValueError(f"ramp_s {ramp_s} is not between 0 and 3600")
        self.ramps.setdefault(_key(fault, signal), Ramp()).aim(severity, ramp_s)

    def clear(self, ramp_s: float = 0.0) -> None:
        """Let every fault go away."""
        for ramp in self.ramps.values():
            ramp.aim(0.0, ramp_s)

    def advance(self, dt: float) -> None:
        """Move all ramps on; what has gone is forgotten."""
        for key, ramp in list(self.ramps.items()):
            if ramp.advance(dt) == 0.0 and ramp.target == 0.0:
                del self.ramps[key]

    def level(self, fault: str, signal: str | None = None) -> float:
        """Severity just now, 0..1."""
        ramp = self.ramps.get((fault, signal) if signal else fault)
        return ramp.level if ramp else 0.0

    def active(self) -> dict[str, float]:
        """Every fault that is at work: "leak", "stuck:flow" -> severity."""
        return {":".join(key) if isinstance(key, tuple) else key: round(ramp.level, 4) for key, ramp in self.ramps.items()}


def _key(fault: str, signal: str | None) -> str | tuple[str, str]:
    if fault in PROCESS:
        return fault
    if fault in SENSOR:
        if signal not in SIGNALS:
            raise ValueError(f"the fault {fault!r} is a sensor's: `signal` must be one of {', '.join(SIGNALS)}")
        return fault, signal
    raise ValueError(f"there is no fault {fault!r}; there are: {', '.join(PROCESS + SENSOR)}")
