"""Who is stuck is said by name."""

from __future__ import annotations

from edge_agent.clock import ManualClock
from edge_agent.health import Health


def test_a_part_that_reports_in_time_is_well_and_one_that_does_not_is_named(clock: ManualClock) -> None:
    health = Health(clock)
    health.expect("loop a", 10)
    health.expect("loop b", 10)
    clock.advance(8)
    health.progress("loop a")
    clock.advance(8)
    assert health.stuck() == ["loop b: no progress for 16 s"]


def test_a_part_that_was_stopped_on_purpose_is_not_stuck(clock: ManualClock) -> None:
    health = Health(clock)
    health.expect("loop a", 1)
    health.forget("loop a")
    clock.advance(100)
    assert health.stuck() == []


def test_a_step_of_the_wall_clock_makes_nobody_stuck(clock: ManualClock) -> None:
    health = Health(clock)
    health.expect("loop a", 1)
    clock.step_wall(86400)
    assert health.stuck() == []
