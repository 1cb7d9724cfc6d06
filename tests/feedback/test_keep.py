"""Which windows are kept, and which are not?"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from edge_agent.config.model import Context, Keep
from edge_agent.feedback.keep import Keeper, Kept
from edge_agent.messages import Proposal


def keep(**changed: Any) -> Keep:
    return Keep(**{"alarms": None, "novel": False, "drifting": False, **changed})


def run(keeper: Keeper, turns: Any, scores: Sequence[float], start: int = 0) -> list[Kept]:
    kept: list[Kept] = []
    for seq, score in enumerate(scores, start):
        kept += keeper.consider(turns.window(seq), turns.diagnosis(seq, score), turns.decision(seq), ())
    return kept


def test_a_quiet_window_is_not_kept(turns: Any) -> None:
    assert run(Keeper("p1", Keep()), turns, [0.1] * 100) == []


def test_an_alarm_is_kept_with_what_was_before_and_after(turns: Any) -> None:
    rules = keep(alarms=Context(before="10.0 s", after="10.0 s"))
    kept = run(Keeper("p1", rules), turns, [0.1] * 50 + [0.9] * 5 + [0.1] * 50)
    assert {why for one in kept for why in one.why} == {"before", "alarm begins", "alarm", "after alarm"}
    onset = next(one.window for one in kept if "alarm begins" in one.why)
    assert onset.seq == 50
    assert kept[0].window.start_ns >= onset.end_ns - 14 * 10**9
    assert kept[-1].window.end_ns <= (54 + 3 + 1 + 10) * 10**9


def test_context_lies_end_to_end_and_nothing_is_kept_twice(turns: Any) -> None:
    kept = run(Keeper("p1", keep(alarms=Context(before="20.0 s", after="20.0 s"))), turns, [0.1] * 50 + [0.9] * 30 + [0.1] * 50)
    windows = [one.window for one in kept if "alarm begins" not in one.why]
    assert all(later.start_ns > earlier.start_ns for earlier, later in pairwise(windows))
    assert len({w.seq for w in windows}) == len(windows)
    assert len(kept) < 25


def test_an_alarm_of_hours_is_not_kept_from_end_to_end(turns: Any) -> None:
    kept = run(Keeper("p1", keep(alarms=Context(before="5.0 s", after="20.0 s"))), turns, [0.9] * 5000)
    assert len(kept) < 10


def test_a_window_that_led_to_a_write_is_always_kept(turns: Any) -> None:
    keeper = Keeper("p1", keep(per_day=1))
    for seq in range(10):
        (one,) = keeper.consider(
            turns.window(seq), turns.diagnosis(seq), turns.decision(seq), (turns.outcome("confirmed", intent=seq + 1),)
        )
        assert "action" in one.why


def test_what_the_gate_refused_is_kept_end_to_end_only(turns: Any) -> None:
    keeper = Keeper("p1", keep())
    proposals = (Proposal("trim", "speed", -200.0, "why"),)
    kept = [
        one
        for seq in range(40)
        for one in keeper.consider(
            turns.window(seq), turns.diagnosis(seq), turns.decision(seq, proposals=proposals), (turns.outcome("refused", None),)
        )
    ]
    assert [one.window.seq for one in kept] == list(range(0, 40, 3))


def proposing(keeper: Keeper, turns: Any, value: float, scores: Sequence[float], start: int = 0) -> list[Kept]:
    wants = (Proposal("trim", "speed", value, "why"),)
    kept: list[Kept] = []
    for seq, score in enumerate(scores, start):
        kept += keeper.consider(turns.window(seq), turns.diagnosis(seq, score), turns.decision(seq, proposals=wants), ())
    return kept


def test_a_trim_that_is_to_stay_at_neutral_is_no_reason_to_keep(turns: Any) -> None:
    assert proposing(Keeper("p1", keep()), turns, 0.0, [0.1] * 40) == []


def test_a_policy_that_proposes_all_day_leaves_room_for_an_alarm(turns: Any) -> None:
    keeper = Keeper("p1", keep(per_day=10, alarms=Context(before="1.0 s", after="0.0 s")))
    assert len(proposing(keeper, turns, -200.0, [0.1] * 100)) == 5
    assert "alarm begins" in proposing(keeper, turns, -200.0, [0.9], start=100)[-1].why


def test_near_the_threshold_is_kept(turns: Any) -> None:
    keeper = Keeper("p1", keep(near_threshold=0.1))
    assert [one.why for one in run(keeper, turns, [0.1, 0.75, 0.1])] == [("near threshold",)]


def test_the_novel_is_kept(turns: Any) -> None:
    keeper = Keeper("p1", keep(novel=True))
    (one,) = keeper.consider(turns.window(1), turns.diagnosis(1, None, status="novel"), turns.decision(1), ())
    assert one.why == ("novel",)


def test_windows_are_kept_end_to_end_while_the_diagnosis_says_that_the_loop_drifts(turns: Any) -> None:
    keeper = Keeper("p1", keep(drifting=True))
    quiet = [keeper.consider(turns.window(n), turns.diagnosis(n, 0.1), turns.decision(n), ()) for n in range(20)]
    drifting = turns.diagnosis(20, 0.1, drifting=("flow level: +3.4 deviations",))
    risen = [keeper.consider(turns.window(n), drifting, turns.decision(n), ()) for n in range(20, 40)]
    assert not any(quiet)
    assert risen[0][0].why == ("drifting",)
    assert 4 <= sum(map(len, risen)) <= 8, "not each of them: they overlap"


def test_the_random_share_is_as_large_as_asked_and_always_the_same(turns: Any) -> None:
    first = [one.window.seq for one in run(Keeper("p1", keep(random=0.1, per_day=10_000)), turns, [0.1] * 3000)]
    again = [one.window.seq for one in run(Keeper("p1", keep(random=0.1, per_day=10_000)), turns, [0.1] * 3000)]
    other = [one.window.seq for one in run(Keeper("p2", keep(random=0.1, per_day=10_000)), turns, [0.1] * 3000)]
    assert first == again != other
    assert len(first) == pytest.approx(300, abs=60)


def test_the_days_budget_holds_and_begins_anew_the_next_day(turns: Any) -> None:
    keeper = Keeper("p1", keep(random=1.0, per_day=10))
    assert len(run(keeper, turns, [0.1] * 50)) == 5, "chance may use half of the budget"
    assert keeper.over_budget == 45
    assert len(run(keeper, turns, [0.1] * 50, start=86_400)) == 5


def test_an_alarm_finds_room_when_chance_has_used_its_half(turns: Any) -> None:
    keeper = Keeper("p1", keep(random=1.0, per_day=10, alarms=Context(before="1.0 s", after="0.0 s")))
    kept = run(keeper, turns, [0.1] * 50 + [0.9])
    assert "alarm begins" in kept[-1].why


@pytest.mark.parametrize("before", ["0.0 s", "3.0 s", "60.0 s"])
def test_no_more_context_is_held_back_than_an_alarm_could_ask_for(turns: Any, before: str) -> None:
    keeper = Keeper("p1", keep(alarms=Context(before=before, after="1.0 s")))
    run(keeper, turns, [0.1] * 500)
    held = [window.end_ns for window, _ in keeper._context]
    assert len(held) <= 60
    assert not held or held[-1] - held[0] <= 60 * 1_000_000_000
