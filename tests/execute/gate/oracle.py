"""A second opinion on the gate, written as a table and without a line of the gate's own code.

For each guard a list of clauses over (request, facts, limits); all of them must be exactly True, and what raises is a no.
Clauses look at `r` (request), `f` (facts), `b` (the bounds: limits) and say what has to hold, never what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Clause = Callable[[Any, Any, Any], bool]


def is_number(x: Any) -> bool:
    return (x.__class__ is float and -1.7976931348623157e308 <= x <= 1.7976931348623157e308) or (
        x.__class__ is int and -(2**53) <= x <= 2**53
    )


def is_count(x: Any) -> bool:
    return x.__class__ is int


def near(a: Any, b: Any, by: float) -> bool:
    if is_number(a) and is_number(b):
        return no_more(max(a, b) - min(a, b), by)
    return {a.__class__, b.__class__} in ({bool}, {str}) and a == b


def no_more(a: float, b: float) -> bool:
    return a == b or (b > -1e308 and b - a >= -(abs(b) * 1e-9 + 1e-12))


def alike(a: Any, b: Any) -> bool:
    return a.__class__ is b.__class__ and (repr(a) == repr(b) or (is_number(a) and a == b))


def listed(x: Any) -> tuple[Any, ...]:
    return x if x.__class__ is tuple else (x,)


def holds(kind: Any, x: Any) -> bool:
    bits = {"SByte": (-128, 127), "Byte": (0, 255), "Int16": (-32768, 32767), "UInt16": (0, 65535), "Int32": (-(2**31), 2**31 - 1)}
    if kind in bits:
        return is_number(x) and x == int(x) and bits[kind][0] <= x <= bits[kind][1]
    return {"Double": is_number, "Float": is_number, "Boolean": lambda v: v.__class__ is bool, "String": lambda v: v.__class__ is str}.get(
        kind, lambda _: kind in ("json", "mqtt", "method")
    )(x)


def room(x: Any, low: Any, high: Any) -> bool:
    return is_number(x) and (low is None or x >= low) and (high is None or x <= high)


def fenced(x: Any, b: Any) -> bool:
    if b.values is None:
        return b.low is not None and b.high is not None and room(x, b.low, b.high)
    return any(near(x, v, 0.0) for v in b.values)


def back(r: Any) -> bool:
    return bool(r.purpose == "return")


def middle(a: float, b: float, c: float) -> bool:
    return (b - a) * (c - b) >= 0 and min(a, c) <= b <= max(a, c) and c == c


def step(r: Any, f: Any) -> float:
    return float(r.value - f.operator.current)


def numeric(r: Any) -> bool:
    return is_number(r.value)


def wished(r: Any, f: Any) -> bool:
    for kind, tag, target in f.wish.wishes:
        if kind == r.kind and tag == r.tag and alike(target, r.target):
            if not (is_number(r.value) and is_number(r.target)):
                return alike(r.value, r.target)
            now = f.operator.current
            return is_number(now) and middle(now, r.value, r.target)
    return False


TABLE: dict[str, tuple[Clause, ...]] = {
    "contract": (
        lambda r, f, b: f.contract.now.writable is True,
        lambda r, f, b: (f.contract.now.type, f.contract.now.unit) == (f.contract.armed.type, f.contract.armed.unit),
        lambda r, f, b: all(holds(f.contract.now.type, x) for x in listed(r.value)),
        lambda r, f, b: None in (b.unit, f.contract.now.unit) or b.unit == f.contract.now.unit,
        lambda r, f, b: back(r) or (f.contract.now.low, f.contract.now.high) == (f.contract.armed.low, f.contract.armed.high),
        lambda r, f, b: back(r) or f.contract.armed.writable is True,
        lambda r, f, b: back(r) or all(room(x, f.contract.now.low, f.contract.now.high) for x in (b.low, b.high) if x is not None),
        lambda r, f, b: back(r) or (bool(f.contract.config_hash) and f.contract.config_hash == f.contract.armed_hash),
    ),
    "model": (
        lambda r, f, b: f.model.verified is True,
        lambda r, f, b: bool(f.model.hash) and f.model.hash == f.model.admitted_hash,
        lambda r, f, b: f.model.loops.__class__ is frozenset and (r.loop in f.model.loops or "*" in f.model.loops),
        lambda r, f, b: is_count(f.model.tier) and f.model.tier >= b.tier,
        lambda r, f, b: sorted((f.model.floor, f.model.version))[0] == f.model.floor,
    ),
    "inputs": (
        lambda r, f, b: f.inputs.fit is True,
        lambda r, f, b: len(f.inputs.newest) > 0 and all(is_number(x) for x in f.inputs.newest),
        lambda r, f, b: b.max_age_s is not None and room(f.inputs.age_s, 0.0, b.max_age_s),
        lambda r, f, b: is_count(f.inputs.end_ns) and is_count(f.inputs.previous_end_ns) and f.inputs.end_ns - f.inputs.previous_end_ns > 0,
        lambda r, f, b: is_count(f.inputs.good_windows) and f.inputs.good_windows >= b.good_windows,
    ),
    "output": (
        lambda r, f, b: f.output.status == "ok",
        lambda r, f, b: room(f.output.score, b.score_low, b.score_high),
        lambda r, f, b: b.min_confidence is None or room(f.output.confidence, b.min_confidence, 1.0),
        lambda r, f, b: b.max_novelty is None or room(f.output.novelty, 0.0, b.max_novelty),
    ),
    "persistence": (
        lambda r, f, b: is_count(f.persistence.windows) and f.persistence.windows >= b.persist_windows,
        lambda r, f, b: b.persist_s is not None and room(f.persistence.seconds, b.persist_s, None),
    ),
    "whitelist": (
        lambda r, f, b: r.loop == b.loop and r.tag == b.tag and b.writable is True,
        lambda r, f, b: not numeric(r)
        or b.step is None
        or r.value == b.neutral
        or (abs(r.value / b.step) <= 2**53 and abs(math.remainder(r.value, b.step)) <= 1e-6 * abs(b.step)),
        lambda r, f, b: not back(r) or (r.kind == "trim" and numeric(r)),
        lambda r, f, b: r.kind == "call" or r.value.__class__ is not tuple,
        lambda r, f, b: back(r) or f.wish.loop == r.loop,
        lambda r, f, b: back(r) or (is_count(f.wish.window) and len({f.wish.window, f.wish.diagnosed, f.wish.decided}) == 1),
        lambda r, f, b: back(r) or wished(r, f),
    ),
    "limits": (
        lambda r, f, b: f.contract.now is not None,
        lambda r, f, b: b.values is not None or len(listed(r.value) + listed(r.target)) > 0,
        lambda r, f, b: all(fenced(x, b) for x in listed(r.value) + listed(r.target)),
        lambda r, f, b: all(
            room(x, f.contract.now.low, f.contract.now.high) for x in listed(r.value) + listed(r.target) if is_number(x)
        ),
    ),
    "authority": (
        lambda r, f, b: f.spent is not None,
        lambda r, f, b: not numeric(r) or is_number(f.operator.current),
        lambda r, f, b: not numeric(r) or not back(r) or (is_number(b.neutral) and middle(f.operator.current, r.value, b.neutral)),
        lambda r, f, b: not numeric(r)
        or back(r)
        or b.change is None
        or (is_number(f.spent.change) and no_more(f.spent.change + abs(step(r, f)), b.change)),
        lambda r, f, b: not numeric(r)
        or back(r)
        or b.drift is None
        or (
            is_number(f.spent.lowest)
            and is_number(f.spent.highest)
            and no_more(max(f.spent.highest, r.value) - min(f.spent.lowest, r.value), b.drift)
        ),
    ),
    "rate": (
        lambda r, f, b: f.spent.since_last_s.__class__ is float and no_more(b.min_interval_s, f.spent.since_last_s),
        lambda r, f, b: not numeric(r) or is_number(f.operator.current),
        lambda r, f, b: not numeric(r) or b.max_step is not None or (b.rate_up if step(r, f) > 0 else b.rate_down) is not None,
        lambda r, f, b: not numeric(r) or b.max_step is None or no_more(abs(step(r, f)), b.max_step),
        lambda r, f, b: not numeric(r)
        or (b.rate_up if step(r, f) > 0 else b.rate_down) is None
        or no_more(abs(step(r, f)), (b.rate_up if step(r, f) > 0 else b.rate_down) * f.spent.since_last_s),
        lambda r, f, b: back(r) or (is_count(f.spent.writes_hour) and f.spent.writes_hour < b.per_hour),
        lambda r, f, b: back(r) or (is_count(f.spent.direction) and f.spent.direction in {-1, 0, 1} and is_count(f.spent.reversals_hour)),
        lambda r, f, b: back(r)
        or not numeric(r)
        or not ((step(r, f) > 0 and f.spent.direction < 0) or (step(r, f) < 0 and f.spent.direction > 0))
        or f.spent.reversals_hour < b.reversals_per_hour,
    ),
    "interlocks": (
        lambda r, f, b: b.interlocks.__class__ is tuple and [name for name, _ in f.interlocks] == list(b.interlocks),
        lambda r, f, b: all(truth is True or (back(r) and truth is None) for _, truth in f.interlocks),
    ),
    "operator": (
        lambda r, f, b: f.operator.stopped is False,
        lambda r, f, b: f.operator.other_writer is False,
        lambda r, f, b: r.kind == "call" or near(f.operator.current, f.operator.expected, b.tolerance),
        lambda r, f, b: back(r) or not b.has_base or near(f.operator.base, f.operator.base_armed, 1e-6),
    ),
    "mode": (
        lambda r, f, b: f.mode is not None and is_count(r.now_ns),
        lambda r, f, b: b.tier == 1 or b.tier == 2,
        lambda r, f, b: f.mode.mode == "armed" or (back(r) and f.mode.mode in {"hold", "shed"}),
        lambda r, f, b: back(r) or (is_count(f.mode.until_ns) and f.mode.until_ns - r.now_ns > 0),
        lambda r, f, b: back(r)
        or b.tier != 2
        or (
            f.mode.approval.tag == r.tag
            and alike(f.mode.approval.value, r.value)
            and is_count(f.mode.approval.expires_ns)
            and f.mode.approval.expires_ns > r.now_ns
        ),
    ),
    "rival": (lambda r, f, b: is_count(f.rival.epoch) and is_count(f.rival.newest) and f.rival.newest <= f.rival.epoch,),
    "self": (
        lambda r, f, b: f.own.ledger_healthy is True,
        lambda r, f, b: r.phase == "propose" or is_count(f.own.intent),
        lambda r, f, b: back(r) or f.own.clock_stepped is False,
        lambda r, f, b: back(r) or (b.max_jitter_s is not None and room(f.own.jitter_s, None, b.max_jitter_s)),
        lambda r, f, b: back(r) or (b.min_disk is not None and room(f.own.disk_free, b.min_disk, None)),
    ),
}  # fmt: skip


def says_no(request: Any, facts: Any, limits: Any) -> set[str]:
    """The guards that refuse."""
    refusing = set()
    for guard, clauses in TABLE.items():
        try:
            for clause in clauses:
                if clause(request, facts, limits) is not True:
                    refusing.add(guard)
                    break
        except Exception:  # noqa: BLE001 - whatever goes wrong is a no
            refusing.add(guard)
    return refusing


def permits(request: Any, facts: Any, limits: Any) -> bool:
    """Whether the chain as a whole says yes."""
    no = says_no(request, facts, limits)
    return not (no - {"model", "inputs", "output", "persistence"} if back(request) else no)
