"""How does the whole make-believe plant move on by one PLC scan? Physics, faults, instruments and PLC in a plain loop.

Runs in the plant's process in real time, and headless as fast as it can for training. The same seed and the same calls give
the same plant, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_agent.demo import vibration
from edge_agent.demo.faults import Faults
from edge_agent.demo.physics import Design, Forces, Loop
from edge_agent.demo.plc import SCAN_S, Plc
from edge_agent.demo.sensors import Reported, Sensors, truth

Condition = Literal["normal", "restriction", "cavitation", "imbalance", "leak", "stopped", "between"]

_SUCTION_TRAVEL = 0.64  # how far the suction valve closes at severity 1
_DISCHARGE_TRAVEL = 0.5
_NPSH_LOSS_M = 7.0  # cavitation fault at severity 1
_RESTRICTED_TRAVEL = 0.8  # of the suction valve: less open than this and it is worth a technician's walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is really so; the demo's referee looks here, the agent cannot."""

    t: float  # s since start
    condition: Condition
    margin_m: float
    cavitating: bool
    faults: dict[str, float]
    trim_setpoint: float
    trim_applied: float
    trim_active: bool
    speed: float
    flow: float
    pressure_in: float
    vibration_noise: float
    remote: bool
    running: bool
    alarm: bool
    lease_lost: int


class Simulation:
    """One plant. `scan()` moves it on by SCAN_S."""

    def __init__(self, seed: int, *, base_rpm: float = 2900.0, demand: float = 1.0, design: Design | None = None) -> None:
        process, sensors, bearing = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(3))
        self.loop, self.faults = Loop(design or Design()), Faults()
        self.plc = Plc(base=base_rpm, speed=base_rpm)
        self.sensors = Sensors(sensors)
        self.demand = demand
        self.t = 0.0
        self.readings: dict[str, Reported] = {}
        self._process, self._bearing = process, bearing
        self._drift = 0.0
        self._true: dict[str, float] = {}
        self.loop.advance(self._forces(), 5.0)  # up to a steady flow before anybody looks
        self._block: NDArray[np.float32] = self._hear()
        self._look()

    def scan(self) -> None:
        """One PLC scan of SCAN_S: faults grow, water moves, instruments read, the program runs."""
        self.t += SCAN_S
        self.faults.advance(SCAN_S)
        self._drift += SCAN_S / 20.0 * -self._drift + 0.01 * float(self._process.standard_normal()) * (2 * SCAN_S / 20.0) ** 0.5
        self.loop.advance(self._forces(), SCAN_S)
        self._look()
        self.plc.scan(self._true["flow"], self._true["tank_level"])

    def block(self) -> NDArray[np.float32] | None:
        """One block of the vibration as the sensor's box sends it; None while it sends nothing."""
        fresh = self._hear()
        if self.faults.level("dropout", "vibration"):
            return None
        if self.faults.level("nan", "vibration"):
            return np.full_like(fresh, np.nan)
        if not self.faults.level("stuck", "vibration"):
            self._block = fresh
        return self._block

    def truth(self) -> Truth:
        """The true state, for the referee and for training labels."""
        state, plc = self.loop.state, self.plc
        return Truth(
            t=round(self.t, 3),
            condition=self.condition(),
            margin_m=state.margin_m,
            cavitating=state.margin_m < 0.0,
            faults=self.faults.active(),
            trim_setpoint=plc.setpoint,
            trim_applied=plc.applied,
            trim_active=plc.active,
            speed=plc.speed,
            flow=self._true["flow"],
            pressure_in=self._true["pressure_in"],
            vibration_noise=state.noise,
            remote=plc.remote,
            running=plc.running,
            alarm=plc.alarm,
            lease_lost=plc.lease_lost,
        )

    def condition(self) -> Condition:
        """What an expert who knows everything would call it; "between" where two experts would differ."""
        if self.plc.speed < 0.5 * self.loop.design.rated_rpm:
            return "stopped"
        noise, imbalance, leak = self.loop.state.noise, self.faults.level("imbalance"), self.faults.level("leak")
        if noise > 0.45:
            return "cavitation"
        if noise > 0.2:
            return "between"
        named: list[tuple[Condition, float]] = [("imbalance", imbalance), ("leak", leak)]
        for condition, level in named:
            if level:
                return condition if level >= 0.25 else "between"
        travel = self._forces().suction_open
        if travel < _RESTRICTED_TRAVEL:
            return "restriction"
        return "normal" if travel > 0.95 and noise < 0.02 else "between"

    def _hear(self) -> NDArray[np.float32]:
        return vibration.block(
            self._bearing,
            speed_rpm=self.plc.speed,
            cavitation=self.loop.state.noise,
            imbalance=self.faults.level("imbalance"),
            rated_rpm=self.loop.design.rated_rpm,
        )

    def _forces(self) -> Forces:
        faults = self.faults
        return Forces(
            speed_rpm=self.plc.speed,
            suction_open=1.0 - _SUCTION_TRAVEL * faults.level("suction_valve"),
            discharge_open=1.0 - _DISCHARGE_TRAVEL * faults.level("discharge_valve"),
            leak=faults.level("leak"),
            npsh_loss_m=_NPSH_LOSS_M * faults.level("cavitation"),
            demand=max(0.5, self.demand + self._drift),
        )

    def _look(self) -> None:
        self._true = truth(self.loop.state, self.plc.speed)
        noise = self.loop.state.noise
        turbulence = {"flow": 0.8 * noise, "pressure_in": 0.015 * noise, "pressure_out": 0.04 * noise, "current": 0.008 * noise}
        self.readings = self.sensors.read(self._true, turbulence, self.faults, SCAN_S)
