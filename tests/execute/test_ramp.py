"""The next step toward a wish."""

from __future__ import annotations

import random

import pytest

from edge_agent.config.model import Loop, Write
from edge_agent.execute.ramp import Pace, destination, next_step
from edge_agent.execute.terms import bounds_of, pace, problems, tolerance

PACE = Pace(step=10.0, max_step=10.0, rate_up=1.0, rate_down=1.0)


@pytest.mark.parametrize(
    ("current", "target", "since_s", "expected"),
    [
        (0.0, -200.0, 12.0, -10.0),
        (0.0, -200.0, 10.0, -10.0),
        (0.0, -200.0, 9.9, None),
        (0.0, 0.0, 99.0, None),
        (-195.0, -200.0, 99.0, -200.0),
        (-10.0, 0.0, 99.0, 0.0),
        (33.0, 0.0, 99.0, 30.0),
        (-33.0, 0.0, 99.0, -30.0),
        (3.0, 0.0, 99.0, 0.0),
        (0.0, float("inf"), 99.0, None),
    ],
)
def test_one_step_at_a_time(current: float, target: float, since_s: float, expected: float | None) -> None:
    assert next_step(current=current, target=target, since_s=since_s, pace=PACE) == expected


@pytest.mark.parametrize(
    ("target", "current", "expected"),
    [
        (37.3, 0.0, 30.0),
        (-37.3, 0.0, -30.0),
        (37.3, 30.0, 30.0),
        (37.3, 50.0, 40.0),
        (5.0, 0.0, 0.0),
        (7.5, 33.0, 10.0),
        (33.0, 37.0, 37.0),
    ],
)
def test_a_wish_off_the_grid_ends_on_it_on_the_near_side(target: float, current: float, expected: float) -> None:
    assert destination(target=target, current=current, neutral=1.0, step=10.0) == expected


def test_neutral_may_lie_off_the_grid() -> None:
    assert destination(target=3.0, current=20.0, neutral=3.0, step=10.0) == 3.0
    assert next_step(current=10.0, target=3.0, since_s=99.0, pace=PACE) == 3.0


def test_up_and_down_have_their_own_rate() -> None:
    uneven = Pace(step=1.0, max_step=100.0, rate_up=1.0, rate_down=5.0)
    assert next_step(current=0.0, target=50.0, since_s=10.0, pace=uneven) == 10.0
    assert next_step(current=0.0, target=-50.0, since_s=5.0, pace=uneven) == -25.0


def test_a_random_walk_arrives_without_ever_overshooting_and_stays_on_the_grid() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        step = rng.choice((0.1, 0.25, 1.0, 10.0, 7.0))
        speed = Pace(step=step, max_step=step * rng.choice((1, 1.5, 4)), rate_up=rng.uniform(0.1, 50), rate_down=rng.uniform(0.1, 50))
        current, wish = step * rng.randint(-20, 20), rng.uniform(-30, 30) * step
        target = destination(target=wish, current=current, neutral=0.0, step=step)
        for _ in range(500):
            value = next_step(current=current, target=target, since_s=step / 0.1, pace=speed)
            if value is None:
                break
            assert min(current, target) <= value <= max(current, target)
            assert abs(value - current) <= (speed.max_step or 0.0) * (1 + 1e-9)
            assert abs(value / step - round(value / step)) < 1e-6
            current = value
        assert current == target


def test_no_stray_decimals() -> None:
    value, seen = 0.0, []
    for _ in range(5):
        value = next_step(current=value, target=0.5, since_s=1.0, pace=Pace(step=0.1, max_step=0.1, rate_up=None, rate_down=None)) or value
        seen.append(value)
    assert seen == [0.1, 0.2, 0.3, 0.4, 0.5]


def write(**keys: object) -> Write:
    return Write.model_validate({"limits": (-300.0, 300.0), **keys})


def test_without_a_largest_step_it_is_what_the_rate_gives_but_at_least_one_step() -> None:
    assert pace(write(rate="50/min", step=10.0)).max_step == 10.0
    assert pace(write(rate="50/s", step=10.0)).max_step == 50.0
    assert pace(write(rate="50/s", max_step=20.0)).max_step == 20.0
    assert pace(write()).max_step is None
    assert pace(write(rate="1/s", rate_down="3/s")).rate_down == 3.0
    assert pace(write(rate="1/s")).rate_down == 1.0


def test_the_tolerance_is_configured_or_half_a_step_or_rounding() -> None:
    assert tolerance(Write.model_validate({"limits": (0.0, 1.0), "verify": {"tolerance": 0.2}})) == 0.2
    assert tolerance(write(step=10.0)) == 5.0
    assert tolerance(write()) == pytest.approx(3e-4)


@pytest.mark.parametrize(
    ("perceive", "starved_s"),
    [({"every": "1 s"}, 10.0), ({"every": "5 s", "hop": 4}, 60.0), ({"follow": "part"}, None), ({}, None)],
)
def test_a_loop_is_starved_after_three_missed_windows_or_never(perceive: dict[str, object], starved_s: float | None) -> None:
    loop = Loop.model_validate(
        {"perceive": {"tags": ["flow"], "window": 8, **perceive}, "diagnose": {"model": "m", "timeout": "4 s"}, "decide": {}}
    )
    found = bounds_of(loop, 1e6)
    assert (found.starved_s, found.max_age_s, found.min_disk) == (starved_s, 8.0, 1e6)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"limits": None}, "neither `limits` nor `values`"),
        ({}, "neither `rate` nor `max_step`"),
        ({"limits": (3.0, 3.0), "rate": "1/s"}, "not below"),
        ({"neutral": 301.0, "rate": "1/s"}, "neutral"),
        ({"step": 10.0, "max_step": 5.0}, "smaller than step"),
    ],
)
def test_what_could_never_be_written_is_said_before(keys: dict[str, object], word: str) -> None:
    assert any(word in problem for problem in problems(write(**keys)))
    assert problems(write(rate="1/s", step=10.0)) == []
