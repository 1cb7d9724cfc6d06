"""Does the PLC keep its word, whatever the agent does?"""

from __future__ import annotations

import pytest

from edge_agent.demo.plc import LEASE_S, SCAN_S, TRIM_RAMP, Plc


def scan(plc: Plc, seconds: float, *, lease: bool = False, flow: float = 40.0, level: float = 1.0) -> None:
    for _ in range(round(seconds / SCAN_S)):
        if lease:
            plc.write_lease(plc.lease + 1)
        plc.scan(flow, level)


def test_a_trim_is_applied_on_a_ramp() -> None:
    plc = Plc()
    assert plc.write_trim(-240.0) == "good"
    scan(plc, 1.0, lease=True)
    assert plc.applied == pytest.approx(-TRIM_RAMP)
    scan(plc, 5.0, lease=True)
    assert plc.applied == -240.0
    assert plc.speed == pytest.approx(2660.0)
    assert plc.active


@pytest.mark.parametrize("value", [-400.1, 401.0, float("inf")])
def test_a_trim_outside_the_limits_is_refused_not_clamped(value: float) -> None:
    plc = Plc()
    assert plc.write_trim(value) == "out of range"
    assert plc.setpoint == 0.0


def test_a_trim_that_is_no_number_is_refused() -> None:
    assert Plc().write_trim(float("nan")) == "not a number"


def test_a_lease_that_stops_takes_the_trim_back_by_itself() -> None:
    plc = Plc()
    plc.write_trim(-240.0)
    scan(plc, 10.0, lease=True)
    scan(plc, LEASE_S - SCAN_S)
    assert plc.active
    scan(plc, 3 * SCAN_S)
    assert not plc.active
    assert plc.lease_lost == 1
    scan(plc, 4.0)
    assert plc.applied == 0.0


def test_writing_the_same_lease_again_does_not_keep_it_alive() -> None:
    plc = Plc()
    plc.write_trim(-100.0)
    for _ in range(40):
        plc.write_lease(7)
        plc.scan(40.0, 1.0)
    assert not plc.active


def test_in_local_a_trim_is_refused_but_withdrawing_it_is_not() -> None:
    plc = Plc(remote=False)
    assert plc.write_trim(-100.0) == "not remote"
    assert plc.write_trim(0.0) == "good"


def test_the_local_switch_takes_a_trim_back() -> None:
    plc = Plc()
    plc.write_trim(-100.0)
    scan(plc, 3.0, lease=True)
    plc.remote = False
    scan(plc, 3.0, lease=True)
    assert plc.applied == 0.0
    assert not plc.active


def test_a_pump_that_runs_dry_trips_and_takes_no_trim_until_it_is_reset() -> None:
    plc = Plc()
    scan(plc, 6.0, flow=1.0)
    assert plc.alarm
    assert not plc.running
    assert plc.write_trim(-100.0) == "alarm"
    plc.reset()
    assert plc.write_trim(-100.0) == "good"


def test_an_empty_tank_trips_at_once() -> None:
    plc = Plc()
    plc.scan(40.0, 0.1)
    assert plc.alarm
