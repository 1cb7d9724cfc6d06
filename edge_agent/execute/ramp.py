"""Which single step comes next on the way from the present value to the wished one? Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NOISE = 1e-9  # share of a step: floats that are almost a multiple count as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a tag may move. Units are the tag's; per second."""

    step: float | None  # values are multiples of this
    max_step: float | None  # largest single change
    rate_up: float | None
    rate_down: float | None


def next_step(*, current: float, target: float, since_s: float, pace: Pace) -> float | None:
    """The next value, or None where there is nothing to do yet. `target` comes from `destination`. Never overshoots."""
    distance = target - current
    reach = min(abs(distance), _reach(distance, since_s, pace))
    if reach <= 0 or not math.isfinite(distance):
        return None
    if reach == abs(distance):
        return target
    value = _towards(current, current + math.copysign(reach, distance), pace.step)
    moved = (value - current) * math.copysign(1, distance)
    return value if moved > 0 and abs(target - value) < abs(distance) else None


def destination(*, target: float, current: float, neutral: float, step: float | None) -> float:
    """The wished value on the grid of steps, rounded toward the present value: a wish less than a step away moves nothing."""
    if step is None or target == neutral or _on_grid(target, step):
        return target
    value = _towards(current, target, step)
    return value if min(current, target) <= value <= max(current, target) else current


def _reach(distance: float, since_s: float, pace: Pace) -> float:
    rate = pace.rate_up if distance > 0 else pace.rate_down
    by_rate = math.inf if rate is None else rate * since_s
    return min(by_rate, math.inf if pace.max_step is None else pace.max_step)


def _on_grid(value: float, step: float | None) -> bool:
    return step is None or abs(value / step - round(value / step)) <= _NOISE


def _towards(start: float, end: float, step: float | None) -> float:
    """`end` rounded to a multiple of step on the side of `start`."""
    if step is None:
        return end
    count = end / step
    whole = math.floor(count + _NOISE) if end >= start else math.ceil(count - _NOISE)
    return _tidy(whole * step, step)


def _tidy(value: float, step: float) -> float:
    """0.30000000000000004 -> 0.3: no more decimals than the step has."""
    decimals = max(0, 12 - math.floor(math.log10(step)) - 1)
    return round(value, min(decimals, 15)) + 0.0
