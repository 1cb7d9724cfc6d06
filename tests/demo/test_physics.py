"""Does the pump loop obey the laws that it cites?"""

from __future__ import annotations

import pytest

from edge_agent.demo.physics import PER_L_MIN, Design, Forces, Loop, State, head_left, npsh3, pump_head, valve_resistance, vapour_pressure

DESIGN = Design()


def steady(**forces: float) -> State:
    return Loop().advance(Forces(**forces), 20.0)


def test_the_duty_point_is_where_the_design_says() -> None:
    state = steady()
    assert state.flow / PER_L_MIN == pytest.approx(40.0, rel=0.01)
    assert state.head_m == pytest.approx(16.0, rel=0.01)


@pytest.mark.parametrize("share", [0.6, 0.8, 1.1])
def test_the_pump_curve_follows_the_affinity_laws(share: float) -> None:
    assert pump_head(DESIGN, share * 5e-4, share) == pytest.approx(share**2 * pump_head(DESIGN, 5e-4, 1.0))
    assert npsh3(DESIGN, share * 5e-4, share) == pytest.approx(share**2 * npsh3(DESIGN, 5e-4, 1.0))


def test_flow_follows_speed_and_head_its_square_when_nothing_cavitates() -> None:
    full, slow = steady(speed_rpm=2900), steady(speed_rpm=2320)
    assert slow.flow / full.flow == pytest.approx(0.8, rel=0.002)
    assert slow.head_m / full.head_m == pytest.approx(0.64, rel=0.004)


def test_head_has_fallen_by_three_percent_where_npsh3_is_offered() -> None:
    assert head_left(1.0) == pytest.approx(0.97)


def test_water_boils_at_a_hundred_degrees_at_sea_level() -> None:
    assert vapour_pressure(100.0) == pytest.approx(101_325.0, rel=0.01)


def test_an_open_valve_has_its_own_resistance_and_a_closing_one_more() -> None:
    assert valve_resistance(1.0, 30.0) == 1.0
    assert valve_resistance(0.5, 30.0) == pytest.approx(30.0)


def test_what_leaves_the_tank_comes_back_but_for_the_leak() -> None:
    loop = Loop()
    loop.advance(Forces(leak=0.5), 20.0)
    before, lost = loop.state.level_m, 0.0
    for _ in range(1000):
        state = loop.advance(Forces(leak=0.5), 0.01)
        makeup = min(max(2e-4 * (DESIGN.tank_level_m - state.level_m), 0.0), DESIGN.makeup_max)
        lost += 0.01 * (state.flow - state.line_flow - makeup)
    assert before - loop.state.level_m == pytest.approx(lost / DESIGN.tank_area_m2, rel=0.01)


def test_a_tight_loop_keeps_its_level() -> None:
    assert steady().level_m == pytest.approx(1.0, abs=1e-6)


def test_a_closing_suction_valve_makes_the_pump_cavitate() -> None:
    healthy, starved = steady(), steady(suction_open=0.552)
    assert healthy.margin_m > 3.0
    assert healthy.noise < 0.01
    assert starved.margin_m < 0.0
    assert starved.noise > 0.9
    assert starved.inlet_bar < healthy.inlet_bar - 0.3


@pytest.mark.parametrize("trim", [-200.0, -300.0])
def test_a_lower_speed_relieves_cavitation(trim: float) -> None:
    relieved = steady(suction_open=0.552, speed_rpm=2900.0 + trim)
    assert relieved.margin_m > 0.5
    assert relieved.noise < 0.15


def test_a_leak_shows_as_less_flow_at_the_meter_and_less_pressure() -> None:
    tight, leaking = steady(), steady(leak=0.5)
    assert leaking.line_flow < 0.95 * tight.line_flow
    assert leaking.flow > tight.flow
    assert leaking.outlet_bar < tight.outlet_bar - 0.1


def test_a_closed_loop_does_not_flow_backwards_and_a_stopped_pump_draws_nothing() -> None:
    state = steady(speed_rpm=0.0)
    assert 0.0 <= state.flow / PER_L_MIN < 1.0
    assert state.current_a == 0.0
