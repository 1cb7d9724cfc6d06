"""Does the whole plant behave, the same way twice, and tell the truth to its referee?"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from edge_agent.demo.orders import obey
from edge_agent.demo.simulation import Simulation


def run(simulation: Simulation, seconds: float, *, lease: bool = False) -> None:
    for _ in range(round(seconds * 10)):
        if lease:
            simulation.plc.write_lease(simulation.plc.lease + 1)
        simulation.scan()


def rms(simulation: Simulation) -> float:
    block = simulation.block()
    assert block is not None
    return float(np.sqrt(np.mean(block**2)))


def test_the_same_seed_gives_the_same_plant_to_the_last_bit() -> None:
    one, two, other = Simulation(7), Simulation(7), Simulation(8)
    for simulation in (one, two, other):
        simulation.faults.inject("suction_valve", severity=0.7, ramp_s=2.0)
        run(simulation, 5.0)
    assert one.readings == two.readings
    assert asdict(one.truth()) == asdict(two.truth())
    np.testing.assert_array_equal(one.block(), two.block())
    assert one.readings != other.readings


def test_a_trim_makes_the_plant_recover_within_ten_seconds() -> None:
    plant = Simulation(1)
    plant.faults.inject("suction_valve", severity=0.7, ramp_s=4.0)
    run(plant, 8.0)
    assert plant.truth().condition == "cavitation"
    loud = rms(plant)
    plant.plc.write_trim(-250.0)
    run(plant, 10.0, lease=True)
    assert plant.truth().condition == "restriction"
    assert plant.truth().margin_m > 0.5
    assert rms(plant) < loud / 3


def test_when_the_lease_stops_the_plant_is_back_where_it_was() -> None:
    plant = Simulation(1)
    plant.faults.inject("suction_valve", severity=0.7)
    plant.plc.write_trim(-250.0)
    run(plant, 8.0, lease=True)
    assert not plant.truth().cavitating
    run(plant, 12.0)
    assert plant.truth().trim_applied == 0.0
    assert plant.truth().cavitating


@pytest.mark.parametrize("fault", ["imbalance", "leak", "cavitation"])
def test_each_fault_is_named_by_the_referee(fault: str) -> None:
    plant = Simulation(1)
    plant.faults.inject(fault, severity=0.9)
    run(plant, 5.0)
    assert plant.truth().condition == fault


def test_imbalance_makes_the_vibration_grow() -> None:
    plant = Simulation(1)
    before = rms(plant)
    plant.faults.inject("imbalance", severity=0.5)
    run(plant, 1.0)
    assert rms(plant) > 2 * before


def test_a_stuck_sensor_repeats_itself() -> None:
    plant = Simulation(1)
    plant.faults.inject("stuck", severity=1.0, signal="flow")
    seen = set()
    for _ in range(20):
        plant.scan()
        seen.add(plant.readings["flow"].value)
    assert len(seen) == 1


def test_a_nan_sensor_calls_itself_good_and_a_lost_one_bad() -> None:
    plant = Simulation(1)
    plant.faults.inject("nan", severity=1.0, signal="flow")
    plant.faults.inject("dropout", severity=1.0, signal="current")
    plant.scan()
    assert math.isnan(plant.readings["flow"].value)
    assert plant.readings["flow"].status == "good"
    assert plant.readings["current"].status == "bad"


def test_a_late_sensor_stamps_its_values_late() -> None:
    plant = Simulation(1)
    run(plant, 10.0)
    plant.faults.inject("late", severity=0.5, signal="flow")
    plant.scan()
    assert plant.readings["flow"].age_s == pytest.approx(5.0)


def test_a_silent_vibration_sensor_sends_no_block() -> None:
    plant = Simulation(1)
    plant.faults.inject("dropout", severity=1.0, signal="vibration")
    plant.scan()
    assert plant.block() is None


def test_a_cleared_fault_is_forgotten() -> None:
    plant = Simulation(1)
    obey(plant, {"fault": "leak", "severity": 0.5})
    run(plant, 1.0)
    assert obey(plant, {"clear": True, "ramp_s": 1.0})["ok"]
    run(plant, 1.2)
    assert plant.truth().faults == {}


@pytest.mark.parametrize(
    "order",
    [
        None,
        {},
        {"fault": "gremlins"},
        {"fault": "leak", "severity": 2},
        {"fault": "leak", "severity": None},
        {"fault": "stuck"},
        {"fault": "stuck", "signal": "taste"},
        {"set": {"colour": 1}},
        {"set": {"base": 9000}},
        {"set": {"trim": 900}},
        {"fault": "leak", "clear": True},
    ],
)
def test_a_wrong_order_is_answered_and_changes_nothing(order: object) -> None:
    plant = Simulation(1)
    before = plant.truth()
    assert not obey(plant, order)["ok"]
    assert plant.truth() == before


def test_a_person_at_the_panel_can_switch_to_local() -> None:
    plant = Simulation(1)
    reply = obey(plant, {"set": {"remote": False, "base": 2800}})
    assert reply["ok"]
    assert reply["remote"] is False
    run(plant, 2.0)
    assert plant.truth().speed == pytest.approx(2800.0)
