"""Each guard, knocked out one fact at a time from a case that is permitted."""

from __future__ import annotations

from typing import Any

import pytest
from gate_baseline import BASES, flips
from gate_table import BROKEN, GUARDS, ROWS, Row

from edge_agent.execute.gate.guards import CHAIN
from edge_agent.execute.gate.permit import EXCUSED_ON_RETURN, Verdict, evaluate


def judged(base: str, changes: dict[str, Any]) -> Verdict:
    case = flips(BASES[base](), changes)
    return evaluate(case.request, case.facts, case.limits)


def refusing(base: str, changes: dict[str, Any]) -> str:
    verdict = judged(base, changes)
    excused = EXCUSED_ON_RETURN if base == "return" else frozenset()
    return " ".join(finding.guard for finding in verdict.refusals if finding.guard not in excused)


@pytest.mark.parametrize("base", BASES)
def test_the_baseline_is_permitted(base: str) -> None:
    verdict = judged(base, {})
    assert verdict.ok
    assert verdict.permit is not None
    assert not verdict.lockout


@pytest.mark.parametrize(("base", "changes", "guards"), ROWS, ids=[f"{row[0]}-{row[2] or 'ok'}-{row[1]}"[:120] for row in ROWS])
def test_one_changed_fact_is_noticed_by_its_guard_and_no_other(base: str, changes: dict[str, Any], guards: str) -> None:
    assert refusing(base, changes) == guards
    verdict = judged(base, changes)
    assert verdict.ok == (not guards)
    assert (verdict.permit is None) == (bool(guards) or changes.get("request.phase") == "propose")


@pytest.mark.parametrize(("name", "rows"), GUARDS.items())
def test_every_guard_has_a_fact_that_it_alone_refuses(name: str, rows: list[Row]) -> None:
    assert [row for row in rows if row[2] == name]


def test_the_table_knows_every_guard_of_the_chain() -> None:
    assert [name for name, _ in CHAIN] == list(GUARDS)


@pytest.mark.parametrize(("base", "changes", "guards"), BROKEN, ids=[row[2] for row in BROKEN])
def test_a_guard_that_fails_says_no_and_locks_out(base: str, changes: dict[str, Any], guards: str) -> None:
    verdict = judged(base, changes)
    assert verdict.lockout
    assert any("the guard failed" in finding.why for finding in verdict.refusals)


def test_every_reason_is_words() -> None:
    for base, changes, guards in ROWS:
        for finding in judged(base, changes).refusals:
            assert finding.why, (changes, guards)
            assert finding.why != "ok"
