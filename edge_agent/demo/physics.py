"""How does a small pump loop behave? Tank, suction valve, centrifugal pump, discharge valve, pipe, back into the tank.

Units inside are SI; heads in metres of the fluid. Sources of the equations:

- Quadratic pump curve H = H0 - a Q^2 and the affinity laws Q ~ n, H ~ n^2, P ~ n^3: J. F. Guelich, Centrifugal Pumps
  (Springer), chapters 3 and 4; ISO 9906:2012 section 6.1.2 for the conversion to another speed.
- NPSH available = (ambient - vapour pressure) / (rho g) + static head - suction losses; NPSH3 is by definition where the head
  has fallen by 3 %; NPSH3 ~ n^2; cavitation is heard well before that (Guelich, chapter 6; ISO 9906).
- Valves: flow coefficient and equal-percentage characteristic, IEC 60534-2-1 and -2-4.
- Vapour pressure of water: Antoine equation, 1..100 deg C.
- Leak: a sharp orifice, Q = Cd A sqrt(2 dp / rho), here in parallel with the pipe.

Deterministic: whatever is random is handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

GRAVITY = 9.81  # m/s2
DENSITY = 990.0  # kg/m3, water at 45 deg C
AMBIENT_PA = 101_325.0
SUBSTEP_S = 0.01
PER_L_MIN = 1.0 / 60_000.0  # m3/s in one l/min
BAR_PER_M = DENSITY * GRAVITY / 1e5


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What was built. The duty point is 40 l/min at 16 m with 2900 rpm."""

    rated_rpm: float = 2900.0
    shutoff_head_m: float = 24.0
    duty_flow: float = 40.0 * PER_L_MIN
    duty_head_m: float = 16.0
    npsh3_static_m: float = 2.8  # share of NPSH3 that scales with speed alone
    npsh3_flow_m: float = 3.0  # share that scales with flow, at duty flow
    suction_pipe_m: float = 0.1  # losses at duty flow
    suction_valve_m: float = 0.4  # valve fully open
    discharge_valve_m: float = 5.0  # valve fully open
    rangeability: float = 30.0  # equal-percentage valves, IEC 60534-2-4
    inertance: float = 2500.0  # s2/m2: length / (g x area) of 12 m of pipe DN25
    tank_area_m2: float = 0.25
    tank_level_m: float = 1.0  # above the pump; the float valve holds it
    makeup_max: float = 5.0 * PER_L_MIN
    leak_m: float = 60.0  # head that drives the duty flow through the leak at full severity
    hydraulic_efficiency: float = 0.55
    idle_power_w: float = 60.0
    magnetising_a: float = 0.55
    ambient_c: float = 20.0
    process_heat_w: float = 750.0
    cooling_w_per_k: float = 40.0
    motor_k_per_w: float = 0.35
    motor_j_per_k: float = 5000.0

    @property
    def pipe_m(self) -> float:
        """Losses of the pipe at duty flow: what the pump's head leaves after the valves."""
        return self.duty_head_m - self.suction_pipe_m - self.suction_valve_m - self.discharge_valve_m


@dataclass(slots=True, kw_only=True)
class Forces:
    """What acts on the loop from outside during a step."""

    speed_rpm: float = 2900.0
    suction_open: float = 1.0  # travel, 0..1
    discharge_open: float = 1.0
    leak: float = 0.0  # severity, 0..1
    npsh_loss_m: float = 0.0  # air drawn in or a hot spot at the inlet: NPSH that is not there
    demand: float = 1.0  # factor on the pipe's losses: consumers come and go


@dataclass(slots=True, kw_only=True)
class State:
    """Where the loop stands. `flow` is what the pump moves, `line_flow` what passes the flow meter."""

    flow: float = 0.0
    line_flow: float = 0.0
    head_m: float = 0.0
    head_factor: float = 1.0  # 1: no cavitation
    level_m: float = 1.0
    fluid_c: float = 45.0
    motor_c: float = 45.0
    power_w: float = 0.0
    npsha_m: float = 10.0
    npsh3_m: float = 2.8
    inlet_bar: float = 0.0
    outlet_bar: float = 0.0
    current_a: float = 0.0
    noise: float = 0.0  # loudness of the cavitation, 0..1

    @property
    def margin_m(self) -> float:
        """NPSH margin; below zero the pump cavitates."""
        return self.npsha_m - self.npsh3_m


def pump_head(design: Design, flow: float, speed: float) -> float:
    """Head in m at a flow (m3/s) and a speed (1 = rated); affinity laws applied to the quadratic curve."""
    return speed**2 * design.shutoff_head_m - _curvature(design) * flow**2


def npsh3(design: Design, flow: float, speed: float) -> float:
    """NPSH in m at which the head has fallen by 3 %; scales with speed squared at similar flow."""
    return speed**2 * design.npsh3_static_m + design.npsh3_flow_m * (flow / design.duty_flow) ** 2


def npsh_available(inlet_loss_m: float, level_m: float, fluid_c: float) -> float:
    """NPSH in m that the plant offers at the pump's inlet; never below a rest of 0.3 m."""
    return max(0.3, (AMBIENT_PA - vapour_pressure(fluid_c)) / (DENSITY * GRAVITY) + level_m - inlet_loss_m)


def vapour_pressure(celsius: float) -> float:
    """Water, in Pa, by the Antoine equation."""
    return 133.322 * math.pow(10.0, 8.07131 - 1730.63 / (233.426 + celsius))


def valve_resistance(travel: float, rangeability: float) -> float:
    """How many times the resistance of the open valve: 1 / f(travel)^2, f = R^(travel - 1)."""
    return math.pow(rangeability, 2.0 * (1.0 - min(max(travel, 0.0), 1.0)))


def head_left(ratio: float) -> float:
    """Share of the head that is left at NPSH3 / NPSHa; 0.97 at 1 by definition, then it breaks down."""
    return max(0.1, 1.0 - 0.03 * math.pow(ratio, 8))


def loudness(ratio: float) -> float:
    """Cavitation noise at NPSH3 / NPSHa: starts at 0.8, full at 1.15, smooth between."""
    x = min(max((ratio - 0.8) / 0.35, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


@dataclass(slots=True)
class Loop:
    """The loop in motion. Starts at rest with warm fluid."""

    design: Design = field(default_factory=Design)
    state: State = field(default_factory=State)

    def advance(self, forces: Forces, seconds: float) -> State:
        """Move on by a multiple of SUBSTEP_S; the state is the same object, changed in place."""
        for _ in range(round(seconds / SUBSTEP_S)):
            self._step(forces, SUBSTEP_S)
        return self.state

    def _step(self, forces: Forces, dt: float) -> None:
        design, state = self.design, self.state
        duty2 = design.duty_flow**2
        speed = forces.speed_rpm / design.rated_rpm
        inlet = (design.suction_pipe_m + design.suction_valve_m * valve_resistance(forces.suction_open, design.rangeability)) / duty2
        line, through_leak = _branches(design, forces)
        factor = state.head_factor
        state.flow = _flow(
            state.flow,
            drive_m=factor * speed**2 * design.shutoff_head_m,
            resistance=factor * _curvature(design) + inlet + line / (1.0 + through_leak) ** 2,
            inertia=design.inertance / dt,
        )
        state.line_flow = state.flow / (1.0 + through_leak)
        state.head_m = factor * max(0.0, pump_head(design, state.flow, speed))
        inlet_loss = inlet * state.flow**2
        self._cavitate(inlet_loss + forces.npsh_loss_m, speed, dt)
        state.inlet_bar = max(-0.97, BAR_PER_M * (state.level_m - inlet_loss))
        state.outlet_bar = state.inlet_bar + BAR_PER_M * state.head_m
        self._warm(speed, dt)
        self._balance(dt)

    def _cavitate(self, inlet_loss_m: float, speed: float, dt: float) -> None:
        state = self.state
        state.npsha_m = npsh_available(inlet_loss_m, state.level_m, state.fluid_c)
        state.npsh3_m = npsh3(self.design, state.flow, speed)
        ratio = state.npsh3_m / state.npsha_m
        blend = dt / 0.3  # bubbles need a few tenths of a second to fill or to collapse
        state.head_factor += blend * (head_left(ratio) - state.head_factor)
        state.noise += blend * (loudness(ratio) * min(1.0, speed**2) - state.noise)

    def _warm(self, speed: float, dt: float) -> None:
        """Shaft power, current of the motor behind its drive, and two thermal masses."""
        design, state = self.design, self.state
        hydraulic = DENSITY * GRAVITY * state.flow * state.head_m
        state.power_w = hydraulic / design.hydraulic_efficiency + design.idle_power_w * speed**3
        torque_a = state.power_w / max(speed, 0.05) / 0.75 / (math.sqrt(3.0) * 400.0)  # 75 % motor, 400 V
        state.current_a = math.hypot(design.magnetising_a, torque_a) if speed > 0.02 else 0.0
        loss = state.power_w * (1.0 / 0.75 - 1.0)
        state.motor_c += dt / design.motor_j_per_k * (loss - (state.motor_c - design.ambient_c) / design.motor_k_per_w)
        heat = state.power_w + design.process_heat_w - design.cooling_w_per_k * (state.fluid_c - design.ambient_c)
        state.fluid_c += dt * heat / (DENSITY * design.tank_area_m2 * max(state.level_m, 0.1) * 4180.0)

    def _balance(self, dt: float) -> None:
        """What leaves the tank comes back but for the leak; a float valve makes up."""
        design, state = self.design, self.state
        makeup = min(max(2e-4 * (design.tank_level_m - state.level_m), 0.0), design.makeup_max)
        state.level_m = max(0.0, state.level_m + dt * (state.line_flow + makeup - state.flow) / design.tank_area_m2)


def _curvature(design: Design) -> float:
    return (design.shutoff_head_m - design.duty_head_m) / design.duty_flow**2


def _branches(design: Design, forces: Forces) -> tuple[float, float]:
    """Resistance of the line, and leak flow over line flow (two orifices in parallel)."""
    valve = design.discharge_valve_m * valve_resistance(forces.discharge_open, design.rangeability)
    line = design.pipe_m * forces.demand + valve
    return line / design.duty_flow**2, forces.leak * math.sqrt(line / design.leak_m)


def _flow(flow: float, *, drive_m: float, resistance: float, inertia: float) -> float:
    """The flow one step later, implicit and therefore stable: inertia (q - flow) = drive - resistance q^2; a check valve holds."""
    return (math.sqrt(inertia**2 + 4.0 * resistance * (drive_m + inertia * flow)) - inertia) / (2.0 * resistance)
