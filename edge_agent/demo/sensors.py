"""What do the plant's instruments say, as against what is true? Noise, and the faults that instruments have."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from edge_agent.demo.faults import Faults
from edge_agent.demo.physics import PER_L_MIN, State

Status = Literal["good", "bad"]


class Reported(NamedTuple):
    """What an instrument reports. `age_s` is how old its own time stamp makes it."""

    value: float
    status: Status
    age_s: float


# signal -> standard deviation of its noise, in its own unit
NOISE: dict[str, float] = {
    "flow": 0.15,
    "pressure_in": 0.006,
    "pressure_out": 0.010,
    "current": 0.006,
    "motor_temp": 0.05,
    "fluid_temp": 0.05,
    "speed": 1.5,
    "tank_level": 0.002,
}
LATE_S = 10.0  # a late sensor at full severity
_KEEP = 128  # past readings kept, for late sensors


def truth(state: State, speed_rpm: float) -> dict[str, float]:
    """The true values in the units of the instruments: l/min, bar (gauge), A, deg C, rpm, m."""
    return {
        "flow": state.line_flow / PER_L_MIN,
        "pressure_in": state.inlet_bar,
        "pressure_out": state.outlet_bar,
        "current": state.current_a,
        "motor_temp": state.motor_c,
        "fluid_temp": state.fluid_c,
        "speed": speed_rpm,
        "tank_level": state.level_m,
    }


@dataclass(slots=True)
class Sensors:
    """All instruments of one plant."""

    rng: np.random.Generator
    _last: dict[str, Reported] = field(default_factory=dict)
    _past: dict[str, deque[float]] = field(default_factory=dict)

    def read(self, true: dict[str, float], turbulence: dict[str, float], faults: Faults, dt: float) -> dict[str, Reported]:
        """One reading of each; `turbulence` is real and adds to the noise's standard deviation."""
        draws = self.rng.standard_normal(len(NOISE))
        for (signal, noise), draw in zip(NOISE.items(), draws, strict=True):
            value = true[signal] + float(draw) * float(np.hypot(noise, turbulence.get(signal, 0.0)))
            self._last[signal] = self._report(signal, value, faults, dt)
        return dict(self._last)

    def _report(self, signal: str, value: float, faults: Faults, dt: float) -> Reported:
        past = self._past.setdefault(signal, deque(maxlen=_KEEP))
        past.append(value)
        if faults.level("dropout", signal):
            return Reported(float("nan"), "bad", 0.0)
        if faults.level("nan", signal):
            return Reported(float("nan"), "good", 0.0)  # the nasty kind: it calls itself good
        if faults.level("stuck", signal) and signal in self._last:
            return self._last[signal]._replace(age_s=0.0)
        delay = min(round(LATE_S * faults.level("late", signal) / dt), len(past) - 1)
        return Reported(past[-1 - delay], "good", delay * dt)
