"""A million random evaluations, held against the oracle. Fixed seeds; nothing here is luck."""

from __future__ import annotations

import random
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from gate_baseline import BASES, NOW, Case, flips
from oracle import says_no

from edge_agent.execute.gate.facts import Approval, Facts
from edge_agent.execute.gate.permit import EXCUSED_ON_RETURN, LONGEST_NS, evaluate, refusal

NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, -30.0, -20.0, 1e-300, 1e300, -1e300, 2**53, 2**53 + 1, 10**400, float("nan"), float("inf"),
    float("-inf"), "", "ok", "armed", "-30.0", (), (1.0,), (True,), "Double", "Int16",
)  # fmt: skip
EVALUATIONS = 1_000_000
PARTS = 4


def scenario(rng: random.Random) -> Case:
    """A case that hangs together, often permitted: values, wishes and budgets belong to one another."""
    base = rng.choice(tuple(BASES))
    case = BASES[base]()
    if base in ("switch", "call"):
        return case
    step = rng.choice((0.1, 1.0, 10.0))
    current = step * rng.randint(-31, 31)
    target = 0.0 if base == "return" else step * rng.randint(-31, 31)
    value = current + max(-step, min(step, target - current)) if rng.random() < 0.8 else step * rng.randint(-32, 32)
    return flips(  # type: ignore[no-any-return]
        case,
        {
            "request.value": value, "request.target": target, "limits.step": rng.choice((None, step)),
            "limits.max_step": rng.choice((None, step)),
            "facts.operator.current": current, "facts.operator.expected": current + rng.choice((0.0, 0.0, 0.0, step)),
            "facts.spent.lowest": current, "facts.spent.highest": current, "facts.spent.change": rng.choice((0.0, 50.0, 99.95)),
            "facts.spent.direction": rng.choice((-1, 0, 1)), "facts.spent.reversals_hour": rng.choice((0, 1, 2)),
            "facts.wish": lambda wish: wish and replace(wish, wishes=frozenset({("trim", "speed", target)})),
            "facts.mode.approval": lambda old: old and Approval(tag="speed", value=value, expires_ns=NOW + 1),
        },
    )  # fmt: skip


def spoilt(part: Any, rng: random.Random) -> Any:
    """The same with one field, at any depth, replaced by something nasty."""
    if part is None or not is_dataclass(part):
        return rng.choice(NASTY)
    field = rng.choice(fields(part)).name
    old = getattr(part, field)
    return replace(part, **{field: spoilt(old, rng) if is_dataclass(old) and rng.random() < 0.8 else rng.choice(NASTY)})


def pools(rng: random.Random, cases: list[Case]) -> dict[str, list[Any]]:
    """For each group of facts: whole, missing, and spoilt ones."""
    found: dict[str, list[Any]] = {}
    for field in fields(Facts):
        wholes = [getattr(case.facts, field.name) for case in rng.sample(cases, 40)]
        found[field.name] = [None, *wholes, *(spoilt(whole, rng) for whole in wholes for _ in range(4))]
    return found


def variants(rng: random.Random) -> Any:
    """An endless stream of cases: most nearly right, so that each single flaw has to be noticed."""
    cases = [scenario(rng) for _ in range(2000)]
    groups, names = pools(rng, cases), [field.name for field in fields(Facts)]
    requests = [spoilt(case.request, rng) for case in cases[:500]]
    fences = [spoilt(case.limits, rng) for case in cases[:500]]
    draw = rng.random
    while True:
        case = cases[int(draw() * 2000)]
        facts, flaws = case.facts, int(draw() * 4)
        if flaws:
            chosen = [names[int(draw() * len(names))] for _ in range(flaws)]
            facts = replace(facts, **{name: groups[name][int(draw() * len(groups[name]))] for name in chosen})
        request = case.request if draw() < 0.9 else requests[int(draw() * 500)]
        limits = case.limits if draw() < 0.9 else fences[int(draw() * 500)]
        yield request, facts, limits


def compare(seed: int, count: int) -> int:
    """How many were permitted; every one agreed with the oracle."""
    permitted = 0
    for _, (request, facts, limits) in zip(range(count), variants(random.Random(seed)), strict=False):
        verdict = evaluate(request, facts, limits)
        no = {finding.guard for finding in verdict.findings if not finding.ok}
        expected = says_no(request, facts, limits)
        assert no == expected, (no ^ expected, request, facts, limits)
        counted = no - EXCUSED_ON_RETURN if request.purpose == "return" else no
        broken = any(finding.why.startswith("the guard failed") for finding in verdict.findings)
        assert verdict.ok == (not counted and not broken)
        if verdict.permit is None:
            continue
        permitted += 1
        assert verdict.ok
        permit = verdict.permit
        assert (permit.loop, permit.tag, permit.value, permit.intent) == (limits.loop, limits.tag, request.value, facts.own.intent)
        assert permit.expires_ns - request.now_ns <= LONGEST_NS
        values = permit.value if request.kind == "call" else (permit.value,)
        assert all(limits.low <= value <= limits.high if limits.values is None else value in limits.values for value in values)
    return permitted


def test_the_gate_and_the_oracle_agree_on_a_short_run() -> None:
    assert compare(1, 10_000) > 500


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_gate_and_the_oracle_agree_a_million_times(part: int) -> None:
    assert compare(1000 + part, EVALUATIONS // PARTS) > 10_000


def test_a_nasty_present_value_never_passes_the_actuators_own_check() -> None:
    case = BASES["act"]()
    permit = evaluate(case.request, case.facts, case.limits).permit
    assert permit is not None
    for nasty in NASTY:
        no = refusal(permit, loop="p1", tag="speed", value=-30.0, current=nasty, tolerance=5.0, now_ns=NOW)
        assert (no is None) == (nasty == -20.0)
