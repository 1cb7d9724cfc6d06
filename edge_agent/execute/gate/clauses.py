"""Which conditions do the guards share? Each says yes or no, or gives the reason of a no.

Comparisons are written so that NaN fails them: `if not a <= b: no`.
"""

from __future__ import annotations

from typing import Final

from edge_agent.execute.gate.facts import Described, Facts, ModeFacts, Request, SpentFacts, Value
from edge_agent.execute.gate.limits import Limits
from edge_agent.execute.gate.values import at_most, between, identical, number, same

OK: Final = "ok"


def parts(value: Value) -> tuple[object, ...]:
    return value if type(value) is tuple else (value,)


def inside(value: object, low: float | None, high: float | None) -> bool:
    """None is an open end. What is no number is outside; a bound that is no number lets nothing in."""
    amount = number(value)
    return amount is not None and (low is None or low <= amount) and (high is None or amount <= high)


def allowed(value: object, limits: Limits) -> bool:
    if limits.values is not None:
        return any(same(value, allowed, 0.0) for allowed in limits.values)
    return limits.low is not None and limits.high is not None and inside(value, limits.low, limits.high)


def fence(limits: Limits) -> str:
    return f"values {list(limits.values)}" if limits.values is not None else f"limits {limits.low}..{limits.high}"


def covers(device: Described, limits: Limits) -> bool:
    ends = [end for end in (limits.low, limits.high) if end is not None]
    return all(inside(end, device.low, device.high) for end in ends)


def asks(asked: tuple[str, str, Value], request: Request, facts: Facts) -> bool:
    """Whether the decision asks for it: the same kind, tag and end, and the value is a step on the way there."""
    if asked[:2] != (request.kind, request.tag) or not identical(asked[2], request.target):
        return False
    value, target = number(request.value), number(request.target)
    if value is None or target is None:
        return identical(request.value, request.target)
    current = number(facts.operator.current if facts.operator else None)
    return current is not None and between(value, current, target)


def within_budgets(value: float, current: float, spent: SpentFacts, limits: Limits) -> str:
    if limits.change is not None:
        used = number(spent.change)
        if used is None or not at_most(used + abs(value - current), limits.change):
            return f"{spent.change} of {limits.change} are spent; {abs(value - current)} more is too much"
    if limits.drift is not None:
        low, high = number(spent.lowest), number(spent.highest)
        if low is None or high is None or not at_most(max(value, high) - min(value, low), limits.drift):
            return f"{value} drifts more than {limits.drift} away from {spent.lowest}..{spent.highest}"
    return OK


def too_fast(change: float, since: float, limits: Limits) -> str:
    per_second = limits.rate_up if change > 0 else limits.rate_down
    if per_second is None and limits.max_step is None:
        return "neither `rate` nor `max_step` is configured"
    if limits.max_step is not None and not at_most(abs(change), limits.max_step):
        return f"a step of {change} is larger than {limits.max_step}"
    if per_second is not None and not at_most(abs(change), per_second * since):
        return f"{change} within {since} s is faster than {per_second} per s"
    return ""


def steady(change: float, spent: SpentFacts, limits: Limits) -> str:
    if type(spent.direction) is not int or spent.direction not in (-1, 0, 1) or type(spent.reversals_hour) is not int:
        return "how often it turned back is not known"
    turns = change * spent.direction < 0
    if turns and not spent.reversals_hour < limits.reversals_per_hour:
        return f"turned back {spent.reversals_hour} times in the last hour, fewer than {limits.reversals_per_hour} are needed"
    return OK


def approved(request: Request, mode: ModeFacts) -> bool:
    """Whether a person has said yes to this very value, and the yes still stands."""
    given = mode.approval
    if given is None or given.tag != request.tag:
        return False
    if type(given.expires_ns) is not int or not request.now_ns < given.expires_ns:
        return False
    return identical(given.value, request.value)
