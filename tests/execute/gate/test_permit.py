"""The chain as a whole, and the permit that comes out of it."""

from __future__ import annotations

from typing import Any

import pytest
from gate_baseline import BASES, NOW, calling, flip, flips, permitted, returning

from edge_agent.execute.gate.guards import CHAIN
from edge_agent.execute.gate.permit import LONGEST_NS, Permit, evaluate, refusal


def permit(**changes: Any) -> Permit:
    case = permitted()
    found = evaluate(case.request, case.facts, case.limits).permit
    assert found is not None
    return flips(found, changes)  # type: ignore[no-any-return]


def use(given: Permit, **changes: Any) -> str | None:
    asked = {"loop": "p1", "tag": "speed", "value": -30.0, "current": -20.0, "tolerance": 5.0, "now_ns": NOW, **changes}
    return refusal(given, **asked)


def test_a_permit_is_bound_to_loop_tag_value_precondition_nonce_intent_and_time() -> None:
    assert permit() == Permit(
        loop="p1", tag="speed", value=-30.0, precondition=-20.0, nonce="n1", expires_ns=NOW + 2_000_000_000, intent=17
    )
    assert LONGEST_NS == 2_000_000_000


def test_a_call_has_no_precondition() -> None:
    case = flips(calling(), {"facts.operator.current": 1.0})
    found = evaluate(case.request, case.facts, case.limits).permit
    assert found is not None
    assert found.precondition is None
    assert use(found, value=(1, "a"), current=None) is None


def test_a_proposal_gets_a_yes_but_no_permit() -> None:
    case = flips(permitted(), {"request.phase": "propose", "facts.own.intent": None})
    verdict = evaluate(case.request, case.facts, case.limits)
    assert verdict.ok
    assert verdict.permit is None


@pytest.mark.parametrize(
    "change",
    [{"request.nonce": ""}, {"request.nonce": 7}, {"request.phase": "propose"}, {"request.phase": "PERMIT", "facts.own.intent": 1}],
)
def test_without_nonce_or_the_right_phase_there_is_no_permit(change: dict[str, Any]) -> None:
    case = flips(permitted(), change)
    assert evaluate(case.request, case.facts, case.limits).permit is None


def test_the_actuator_may_use_it_until_the_last_moment() -> None:
    assert use(permit()) is None
    assert use(permit(), now_ns=NOW + LONGEST_NS - 1) is None
    assert use(permit(), current=-15.0) is None
    assert use(permit(precondition=None), current=None) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"loop": "p2"}, "not for p2"),
        ({"tag": "valve"}, "valve"),
        ({"value": -40.0}, "-40.0"),
        ({"value": -30}, "-30"),
        ({"now_ns": NOW + LONGEST_NS}, "expired"),
        ({"now_ns": NOW - 1}, "expired"),
        ({"current": -14.9}, "reads -14.9"),
        ({"current": None}, "reads None"),
        ({"tolerance": 0.0, "current": -20.1}, "reads -20.1"),
    ],
)
def test_the_actuator_may_not_use_it_for_anything_else(changes: dict[str, Any], word: str) -> None:
    assert word in (use(permit(), **changes) or "")


def test_every_guard_is_asked_every_time() -> None:
    case = flips(permitted(), {"facts": lambda facts: type(facts)()})
    verdict = evaluate(case.request, case.facts, case.limits)
    assert [finding.guard for finding in verdict.findings] == [name for name, _ in CHAIN]
    assert not any(finding.ok for finding in verdict.findings)
    assert not verdict.lockout


def test_on_the_way_back_the_excused_guards_are_asked_and_recorded_too() -> None:
    case = returning()
    verdict = evaluate(case.request, case.facts, case.limits)
    assert verdict.ok
    assert {finding.guard for finding in verdict.refusals} == {"model", "inputs", "output", "persistence"}


@pytest.mark.parametrize("word", [None, "", True, 1, "OK", "yes"])
def test_only_the_exact_word_is_a_yes(word: Any) -> None:
    case = permitted()
    verdict = evaluate(case.request, case.facts, case.limits, chain=[*CHAIN, ("odd", lambda *_: word)])
    assert not verdict.ok
    assert [finding.guard for finding in verdict.refusals] == ["odd"]


def test_an_empty_chain_permits_nothing() -> None:
    case = permitted()
    assert not evaluate(case.request, case.facts, case.limits, chain=[]).ok


@pytest.mark.parametrize("base", BASES)
def test_a_failing_guard_locks_out_even_where_it_is_excused(base: str) -> None:
    def fails(*_: object) -> str:
        raise ZeroDivisionError("no")

    case = BASES[base]()
    verdict = evaluate(case.request, case.facts, case.limits, chain=[*CHAIN, ("model", fails)])
    assert verdict.lockout
    assert not verdict.ok
    assert verdict.permit is None


@pytest.mark.parametrize(
    ("path", "value", "locked"),
    [
        ("facts.rival.newest", 5, True),
        ("facts.rival.newest", 4, False),
        ("facts.rival.newest", None, False),
        ("facts.rival.epoch", None, False),
        ("facts.rival", None, False),
        ("facts.operator.other_writer", True, True),
        ("facts.operator.other_writer", None, False),
        ("facts.operator", None, False),
    ],
)
def test_a_usurper_locks_the_loop_out(path: str, value: Any, locked: bool) -> None:
    case = flip(permitted(), path, value)
    assert evaluate(case.request, case.facts, case.limits).lockout is locked


def test_nothing_is_permitted_when_the_intent_guard_is_left_out_and_no_intent_is_there() -> None:
    case = flip(permitted(), "facts.own", None)
    assert evaluate(case.request, case.facts, case.limits, chain=[("only", lambda *_: "ok")]).permit is None
    case = flip(permitted(), "facts.operator", None)
    found = evaluate(case.request, case.facts, case.limits, chain=[("only", lambda *_: "ok")]).permit
    assert found is not None
    assert use(found, current=None) is None
