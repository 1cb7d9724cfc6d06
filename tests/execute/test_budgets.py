"""What has been spent, over monotonic time, in bounded memory."""

from __future__ import annotations

from edge_agent.execute.budgets import Budgets

S = 1_000_000_000


def account() -> Budgets:
    return Budgets(start_ns=0, change_s=60.0, drift_s=86_400.0)


def test_before_the_first_write_nothing_is_spent_and_time_counts_from_the_start() -> None:
    spent = account().spent(5 * S, 3.0)
    assert (spent.change, spent.lowest, spent.highest, spent.since_last_s) == (0.0, 3.0, 3.0, 5.0)
    assert (spent.writes_hour, spent.reversals_hour, spent.direction) == (0, 0, 0)


def test_changes_add_up_whatever_their_direction_and_fall_out_after_their_time() -> None:
    budget = account()
    budget.book(0, 0.0, 10.0)
    budget.book(30 * S, 10.0, 5.0)
    assert budget.spent(59 * S, 5.0).change == 15.0
    assert budget.spent(60 * S, 5.0).change == 5.0
    assert budget.spent(90 * S, 5.0).change == 0.0


def test_the_extremes_are_those_of_the_whole_drift_time() -> None:
    budget = account()
    budget.book(0, 0.0, 10.0)
    budget.book(1 * S, 10.0, -5.0)
    spent = budget.spent(86_399 * S, -5.0)
    assert (spent.lowest, spent.highest) == (-5.0, 10.0)
    spent = budget.spent(86_401 * S, -5.0)
    assert (spent.lowest, spent.highest) == (-5.0, -5.0)


def test_reversals_are_counted_over_an_hour() -> None:
    budget = account()
    for at, (before, after) in enumerate([(0.0, 1.0), (1.0, 2.0), (2.0, 1.0), (1.0, 2.0)]):
        budget.book(at * S, before, after)
    assert (budget.spent(4 * S, 2.0).reversals_hour, budget.spent(4 * S, 2.0).direction) == (2, 1)
    assert budget.spent(3601 * S, 2.0).reversals_hour == 2
    assert budget.spent(3604 * S, 2.0).reversals_hour == 0


def test_switches_are_writes_without_an_amount() -> None:
    budget = account()
    budget.book(0, False, True)
    spent = budget.spent(1 * S, True)
    assert (spent.writes_hour, spent.change, spent.reversals_hour, spent.lowest) == (1, 0.0, 0, None)


def test_a_flood_is_bounded_and_forgets_nothing_of_the_budget() -> None:
    budget = Budgets(start_ns=0, change_s=3600.0, drift_s=86_400.0)
    for at in range(10_000):
        budget.book(at * S // 10, float(at % 2), float((at + 1) % 2))
    assert len(budget._moves) <= 2048
    spent = budget.spent(1000 * S, 0.0)
    assert (spent.writes_hour, spent.change, spent.lowest, spent.highest) == (10_000, 10_000.0, 0.0, 1.0)
