"""What does the loop's own outcome say, and when does it keep silent?"""

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.feedback.labels import Episodes, Label, judge


def run(turns: Any, scores: list[float], outcomes: dict[int, tuple[Any, ...]] | None = None, every: int = 1) -> list[Label]:
    episodes = Episodes(0.8)
    labels = [
        episodes.step(turns.diagnosis(seq * every, score), (outcomes or {}).get(seq, ()), (1000 + seq,)) for seq, score in enumerate(scores)
    ]
    return [label for label in labels if label]


def test_a_confirmed_write_and_a_score_that_falls_back_is_no_proof_that_it_helped(turns: Any) -> None:
    (label,) = run(turns, [0.1] * 3 + [0.9] * 5 + [0.1] * 9, {5: (turns.outcome("confirmed", 77),)})
    assert label.value == "fault, fell back after the action"


def test_a_process_that_answered_and_a_score_that_falls_back_helped(turns: Any) -> None:
    answered = replace(turns.outcome("confirmed", 77), responded=True)
    (label,) = run(turns, [0.1] * 3 + [0.9] * 5 + [0.1] * 9, {5: (turns.outcome("confirmed", 77),), 6: (answered,)})
    assert (label.value, label.author) == ("fault, action helped", "loop")
    assert 77 in label.about
    assert 1003 in label.about
    assert label.evidence["peak"] == 0.9


def test_a_confirmed_write_and_a_score_that_stays_did_not_help(turns: Any) -> None:
    (label,) = run(turns, [0.9] * 20, {2: (turns.outcome("confirmed", 77),)}, every=200)
    assert label.value == "fault, action did not help"


def test_a_process_that_does_not_answer_is_said(turns: Any) -> None:
    (label,) = run(turns, [0.9] * 5 + [0.1] * 9, {2: (turns.outcome("confirmed", 77),), 4: (turns.outcome("no_response", 77),)})
    assert label.value == "no response"


def test_a_write_that_somebody_reverted_is_overridden(turns: Any) -> None:
    (label,) = run(turns, [0.9] * 5 + [0.1] * 9, {2: (turns.outcome("reverted", 77),)})
    assert label.value == "overridden"


def test_an_alarm_that_ends_without_a_write_is_no_proof(turns: Any) -> None:
    (label,) = run(turns, [0.9] * 5 + [0.1] * 9)
    assert label.value == "fell back by itself"


def test_what_the_gate_refused_counts_as_no_write(turns: Any) -> None:
    (label,) = run(turns, [0.9] * 5 + [0.1] * 9, {2: (turns.outcome("refused", None),)})
    assert label.value == "fell back by itself"


@pytest.mark.parametrize("status", ["unknown", "refused"])
def test_an_unknown_outcome_says_nothing(turns: Any, status: str) -> None:
    assert run(turns, [0.9] * 5 + [0.1] * 9, {2: (turns.outcome(status, 77),)}) == []


def test_a_trim_that_returns_without_an_alarm_says_nothing(turns: Any) -> None:
    assert run(turns, [0.1] * 20, {2: (turns.outcome("confirmed", 77),)}) == []


def test_a_score_that_only_dips_does_not_end_the_alarm(turns: Any) -> None:
    assert run(turns, [0.9] * 3 + [0.1] * 4 + [0.9] * 3 + [0.1] * 4) == []


def test_unknown_diagnoses_do_not_count_as_calm(turns: Any) -> None:
    episodes = Episodes(0.8)
    assert episodes.step(turns.diagnosis(0, 0.9), (), (1,)) is None
    assert all(episodes.step(turns.diagnosis(n, None, status="unknown"), ()) is None for n in range(1, 50))


def test_a_reset_forgets_the_alarm(turns: Any) -> None:
    episodes = Episodes(0.8)
    episodes.step(turns.diagnosis(0, 0.9), (), (1,))
    episodes.reset()
    assert all(episodes.step(turns.diagnosis(n, 0.1), ()) is None for n in range(1, 20))


def test_the_about_list_is_bounded(turns: Any) -> None:
    (label,) = run(turns, [0.9] * 500 + [0.1] * 5)
    assert len(label.about) == 64


def test_nothing_at_all_says_nothing() -> None:
    assert judge((), alarmed=True, calm=False) is None
