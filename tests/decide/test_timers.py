"""Dwell, cool-down and stay: by source time, with unknowns, gaps and clocks that run backwards."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.decide.timers import CoolDown, Dwell, Stay

S = 1_000_000_000


def steps(dwell: Dwell, *answers: tuple[float, bool | None]) -> list[bool]:
    return [dwell.step(truth, round(at * S)) for at, truth in answers]


def test_a_condition_must_hold_for_the_whole_time() -> None:
    assert steps(Dwell(2.0), (0, True), (1, True), (2, True), (3, True)) == [False, False, True, True]


def test_without_a_time_one_window_is_enough() -> None:
    assert steps(Dwell(), (0, True)) == [True]


def test_it_must_hold_for_so_many_windows_too() -> None:
    assert steps(Dwell(1.0, windows=4), (0, True), (5, True), (6, True), (7, True)) == [False, False, False, True]


def test_false_starts_again_from_nothing() -> None:
    dwell = Dwell(2.0)
    assert steps(dwell, (0, True), (1, True), (2, False), (3, True), (4, True), (5, True)) == [False, False, False, False, False, True]
    assert (dwell.held_s, dwell.held_windows) == (2.0, 3)


def test_unknown_within_grace_neither_counts_nor_breaks() -> None:
    dwell = Dwell(3.0, grace_s=2.0)
    assert steps(dwell, (0, True), (1, True), (2, None), (3, True), (4, True), (5, True)) == [False] * 5 + [True]
    assert dwell.held_s == 3.0  # 0 to 1 and 3 to 5: what lay around the unknown is not counted


def test_unknown_for_longer_than_the_grace_starts_again() -> None:
    dwell = Dwell(3.0, grace_s=2.0)
    steps(dwell, (0, True), (1, True), (2, True), (3, None), (4, None), (5, None))
    assert (dwell.held_s, dwell.held_windows) == (0.0, 0)
    assert steps(dwell, (6, True)) == [False]


def test_without_grace_the_first_unknown_starts_again() -> None:
    dwell = Dwell(1.0)
    assert steps(dwell, (0, True), (0.5, None), (1, True), (2, True)) == [False, False, False, True]


def test_unknown_is_never_done_even_after_it_was() -> None:
    assert steps(Dwell(1.0, grace_s=9.0), (0, True), (1, True), (2, None), (3, True)) == [False, True, False, True]


def test_unknown_before_anything_is_nothing() -> None:
    assert steps(Dwell(), (0, None), (1, True)) == [False, True]


def test_the_same_window_twice_counts_once() -> None:
    assert steps(Dwell(0.0, windows=2), (0, True), (0, True), (1, True)) == [False, False, True]


def test_time_that_runs_backwards_starts_again() -> None:
    assert steps(Dwell(2.0), (10, True), (11, True), (5, True), (6, True), (7, True)) == [False, False, False, False, True]


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from([True, False, None])), max_size=40), st.floats(0, 10), st.integers(1, 5))
def test_done_means_that_true_windows_really_lie_that_far_apart(moves: list[tuple[float, bool | None]], for_s: float, windows: int) -> None:
    dwell, at, run, first = Dwell(for_s, windows, grace_s=1.0), 0, 0, 0
    for move, truth in moves:
        at += round(move * S)
        if truth is False:
            run = 0
        if truth:
            first = at if run == 0 else first
            run += 1
        if dwell.step(truth, at):
            assert truth is True
            assert run >= windows
            assert at - first >= round(for_s * S)


def test_a_cool_down_counts_from_its_start() -> None:
    cool = CoolDown(10.0)
    assert cool.remaining_s(5 * S) == 0.0
    cool.start(5 * S)
    assert [cool.remaining_s(t * S) for t in (5, 12, 15, 99)] == [10.0, 3.0, 0.0, 0.0]
    cool.start(100 * S)
    cool.reset()
    assert cool.remaining_s(100 * S) == 0.0


def test_a_clock_set_back_starts_the_cool_down_anew_but_never_for_ever() -> None:
    cool = CoolDown(10.0)
    cool.start(1000 * S)
    assert cool.remaining_s(5 * S) == 10.0
    assert cool.remaining_s(15 * S) == 0.0


def test_a_stay_knows_its_age() -> None:
    stay = Stay("normal")
    assert [stay.elapsed_s(t * S) for t in (5, 8)] == [0.0, 3.0]
    stay.enter("normal", 9 * S)
    assert stay.elapsed_s(10 * S) == 5.0
    stay.enter("relief", 10 * S)
    assert (stay.state, stay.elapsed_s(12 * S)) == ("relief", 2.0)
    assert [stay.elapsed_s(t * S) for t in (3, 4)] == [0.0, 1.0]  # set back
    stay.reset()
    assert (stay.state, stay.elapsed_s(50 * S)) == ("normal", 0.0)
