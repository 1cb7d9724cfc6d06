"""Samples in, windows out."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.messages import LinkState, Quality, Sample, Window
from edge_agent.perceive.channel import Channel
from edge_agent.perceive.intake import Intake, TagRules
from edge_agent.perceive.link import Perceiver, View
from edge_agent.perceive.rows import Cycles, Follow, Grid, Wave

S = 1_000_000_000
T0 = 1_700_000_000 * S


def sample(tag: str, at_s: float, value: object, quality: int = 0, late_s: float = 0.0, clock_s: float = 0.0) -> Sample:
    """A sample stamped at_s (on a device whose clock is clock_s ahead) and received late_s afterwards."""
    got = T0 + round((at_s + late_s) * S)
    return Sample(tag, value, quality, T0 + round((at_s + clock_s) * S), got, got - T0 + S)  # type: ignore[arg-type]


def mono(at_s: float) -> int:
    return round(at_s * S) + S


def channel(tag: str, reach_s: float = 3.0, strict: bool = False, linear: bool = False) -> Channel:
    return Channel(tag, reach_ns=round(reach_s * S), strict=strict, linear=linear)


def grid(*tags: str, rows: int = 3, hop: int = 1, settle_s: float = 0.5, linear: bool = False, reach_s: float = 3.0) -> Grid:
    return Grid([channel(t, linear=linear, reach_s=reach_s) for t in tags], every_ns=S, rows=rows, hop=hop, settle_ns=round(settle_s * S))


def perceiver(cutter: object, *tags: str, **rules: object) -> Perceiver:
    intake = Intake({t: TagRules(name=t, connector="c", **rules) for t in tags}, wall_ns=T0, mono_ns=S)  # type: ignore[arg-type]
    p = Perceiver(intake, [View("loop", tags, (), cutter)])  # type: ignore[arg-type]
    p.link(LinkState(connector="c", state="up", reason="", mono_ns=S))
    return p


def feed(p: Perceiver, *samples: Sample) -> list[Window]:
    return [w for s in samples for w in p.take([s])]


def test_rows_are_cut_as_soon_as_every_tag_has_passed_them() -> None:
    p = perceiver(grid("a", "b", rows=2), "a", "b")
    windows = feed(p, *(sample(t, float(i), float(i)) for i in range(6) for t in "ab"))
    assert [w.values.tolist() for w in windows[:2]] == [[[0.0, 1.0], [0.0, 1.0]], [[1.0, 2.0], [1.0, 2.0]]]
    assert all(w.fit for w in windows)


def test_a_row_waits_for_a_late_tag_no_longer_than_settle() -> None:
    p = perceiver(grid("a", "b", rows=1), "a", "b")
    feed(p, sample("a", 0.0, 1.0), sample("b", 0.0, 2.0), sample("a", 1.0, 3.0))
    assert p.tick(mono(1.4)) == []
    (window,) = p.tick(mono(1.5))
    assert window.values.tolist() == [[3.0], [2.0]]


def test_a_hole_longer_than_max_gap_is_no_value_and_the_window_says_which_tag() -> None:
    p = perceiver(grid("a", rows=1), "a")
    feed(p, sample("a", 0.0, 1.0))
    windows = [w for t in range(1, 6) for w in p.tick(mono(t + 0.5))]
    assert [w.fit for w in windows][-4:] == [True, True, False, False]
    assert math.isnan(windows[-1].values[0, 0])
    assert windows[-1].reasons == ("a: gap in 1 of 1 rows",)


def test_channels_that_one_cause_spoils_are_told_together_and_a_long_list_is_cut() -> None:
    names = "abcdefgh"
    p = perceiver(grid(*names, rows=2), *names)
    feed(p, *(sample(tag, 0.0, 1.0) for tag in names))
    windows = [w for t in range(1, 9) for w in p.tick(mono(t + 0.5))]
    assert windows[-1].reasons == ("a, b, c, d, e, f and 2 more: gap in 2 of 2 rows",)


def test_a_living_device_that_reports_by_exception_keeps_its_values() -> None:
    p = perceiver(grid("a", rows=1), "a")
    feed(p, sample("a", 0.0, 1.0))
    for t in range(1, 20):
        p.alive("c", mono(t))
        windows = p.tick(mono(t + 0.5))
    assert windows[-1].fit
    assert windows[-1].live["a"].fit


def test_a_tag_with_max_age_goes_stale_although_the_device_lives() -> None:
    strict = Grid([channel("a", strict=True)], every_ns=S, rows=1, hop=1, settle_ns=S // 2)
    p = perceiver(strict, "a", max_age_s=3.0)
    feed(p, sample("a", 0.0, 1.0))
    for t in range(1, 6):
        p.alive("c", mono(t))
        windows = p.tick(mono(t + 0.5))
    assert not windows[-1].fit
    assert windows[-1].live["a"].quality == Quality.STALE


@pytest.mark.parametrize(
    ("value", "flag"),
    [(math.nan, Quality.NOT_FINITE), (math.inf, Quality.NOT_FINITE), (1e9, Quality.RANGE), (-1.0, Quality.RANGE), (None, Quality.BAD)],
)
def test_a_bad_value_is_flagged_and_bridged_by_the_last_good_one(value: object, flag: Quality) -> None:
    p = perceiver(grid("a", rows=1), "a", low=0.0, high=100.0)
    windows = feed(p, sample("a", 0.0, 5.0), sample("a", 1.0, value), sample("a", 2.0, value))
    assert windows[-1].values[0, 0] == 5.0
    assert windows[-1].quality[0, 0] & flag
    assert windows[-1].quality[0, 0] & Quality.HELD
    assert not windows[-1].live["a"].fit


def test_a_bad_value_is_never_bridged_longer_than_max_gap_even_while_the_device_lives() -> None:
    p = perceiver(grid("a", rows=1), "a")
    feed(p, sample("a", 0.0, 5.0))
    for t in range(1, 6):
        p.alive("c", mono(t))
        windows = feed(p, sample("a", float(t), math.nan))
    assert not windows[-1].fit


def test_a_text_where_a_number_is_due_is_not_fit() -> None:
    p = perceiver(grid("a", rows=1), "a")
    windows = feed(p, sample("a", 0.0, "on"), sample("a", 1.0, "on"))
    assert not windows[-1].fit


def test_uncertain_is_not_good_unless_the_tag_accepts_it() -> None:
    for accept in (False, True):
        p = perceiver(grid("a", rows=1), "a", accept_uncertain=accept)
        windows = feed(p, sample("a", 0.0, 1.0, Quality.UNCERTAIN), sample("a", 1.0, 1.0, Quality.UNCERTAIN))
        assert windows[-1].fit is accept


def test_a_stuck_sensor_is_flagged_after_max_flat() -> None:
    p = perceiver(grid("a", rows=1), "a", max_flat_s=3.0)
    windows = feed(p, *(sample("a", float(t), 7.0) for t in range(6)))
    assert [bool(w.live["a"].quality & Quality.FLAT) for w in windows][-3:] == [False, True, True]


def test_samples_out_of_order_land_in_their_rows() -> None:
    p = perceiver(grid("a", "b", rows=3), "a", "b")
    feed(p, sample("a", 0.0, 0.0), sample("a", 1.0, 1.0), sample("a", 2.2, 2.2), sample("a", 1.9, 1.9, late_s=0.35))
    windows = feed(p, sample("b", 0.0, 0.0, late_s=2.3), sample("b", 2.3, 3.0))
    assert windows[-1].values[0].tolist() == [0.0, 1.0, np.float32(1.9)]
    assert p.intake.tags["a"].counts.out_of_order == 1


def test_a_sample_later_than_its_row_is_counted_and_used_from_then_on() -> None:
    cutter = grid("a", rows=1)
    p = perceiver(cutter, "a")
    feed(p, sample("a", 0.0, 1.0))
    p.tick(mono(2.6))
    p.take([sample("a", 1.5, 9.0, late_s=1.2)])
    (window,) = p.tick(mono(3.5))
    assert cutter.counts["late"] == 1
    assert window.values[0, 0] == 9.0


def test_a_duplicate_is_dropped_and_counted() -> None:
    p = perceiver(grid("a", rows=1), "a")
    feed(p, sample("a", 0.0, 1.0), sample("a", 0.0, 1.0))
    assert p.intake.tags["a"].counts.duplicates == 1


def test_a_value_from_the_future_is_flagged_and_does_not_close_rows() -> None:
    p = perceiver(grid("a", rows=1), "a")
    (window,) = feed(p, sample("a", 0.0, 1.0), sample("a", 0.4, 2.0, clock_s=3600.0))
    assert window.end_ns == T0
    assert p.intake.tags["a"].value == 1.0


@pytest.mark.parametrize("clock_s", [-86400.0 * 365 * 20, 3600.0, -3600.0])
def test_a_device_whose_clock_is_wrong_still_aligns(clock_s: float) -> None:
    p = perceiver(grid("a", rows=2), "a")
    windows = feed(p, *(sample("a", t / 10, float(t), clock_s=clock_s) for t in range(200)))
    assert windows[-1].fit
    assert abs(windows[-1].end_ns - (T0 + 19 * S)) <= 1 * S
    assert abs(p.intake.offsets["c"].estimate_ns / S + clock_s) < 0.1


def test_values_kept_back_in_an_outage_are_not_taken_for_a_clock_that_is_behind() -> None:
    p = perceiver(grid("a", rows=2), "a")
    feed(p, *(sample("a", t / 10, float(t)) for t in range(100)))
    p.take([sample("a", t / 10, float(t), late_s=60 - t / 10) for t in range(100, 600)])
    windows = feed(p, *(sample("a", t / 10, float(t)) for t in range(600, 800)))
    assert (p.intake.offsets["c"].shift_ns, p.intake.clock_shifts) == (0, 0)
    assert windows[-1].fit


def test_a_clock_that_is_set_right_again_is_noticed_at_once() -> None:
    p = perceiver(grid("a", rows=2), "a")
    feed(p, *(sample("a", t / 10, float(t), clock_s=-3600.0) for t in range(300)))
    assert p.intake.offsets["c"].shift_ns > 3599 * S
    feed(p, *(sample("a", t / 10, float(t), late_s=0.001) for t in range(300, 430)))
    assert p.intake.offsets["c"].shift_ns == 0


@pytest.mark.parametrize("step_s", [-3600.0, 86400.0, -86400.0 * 3650])
def test_a_step_of_our_own_clock_moves_nothing_that_we_stamped(step_s: float) -> None:
    p = perceiver(grid("a", rows=2), "a")
    feed(p, *(sample("a", t / 10, float(t)) for t in range(100)))
    stepped = [sample("a", t / 10, float(t)) for t in range(100, 200)]
    windows = feed(
        p, *(s._replace(source_ns=s.source_ns + round(step_s * S), received_ns=s.received_ns + round(step_s * S)) for s in stepped)
    )
    counts = p.intake.tags["a"].counts
    assert (counts.out_of_order, counts.unfit, counts.samples) == (0, 0, 200)
    assert windows[-1].fit
    assert windows[-1].end_ns == T0 + 19 * S


def test_linear_fill_draws_a_line_between_two_values() -> None:
    p = perceiver(grid("a", rows=3, linear=True), "a")
    windows = feed(p, sample("a", 0.0, 0.0), sample("a", 2.5, 25.0), sample("a", 4.0, 40.0))
    assert np.allclose(windows[0].values[0], [0, 10, 20])


def test_units_are_converted_before_the_range_is_checked() -> None:
    p = perceiver(grid("a", rows=1), "a", scale=0.1, low=0.0, high=10.0)
    windows = feed(p, sample("a", 0.0, 50.0), sample("a", 1.0, 50.0))
    assert windows[-1].values[0, 0] == 5.0
    assert windows[-1].fit


def test_follow_cuts_a_row_at_each_sample_of_its_leader_without_waiting() -> None:
    cutter = Follow([channel("a"), channel("b")], leader=0, rows=2, hop=2)
    p = perceiver(cutter, "a", "b")
    windows = feed(p, sample("b", 0.0, 9.0), *(sample("a", 0.1 * i, float(i)) for i in range(1, 6)))
    assert [w.values.tolist() for w in windows] == [[[1.0, 2.0], [9.0, 9.0]], [[3.0, 4.0], [9.0, 9.0]]]


def test_waveform_blocks_become_windows_across_block_borders() -> None:
    cutter = Wave(channel("a"), rows=6, hop=3, step_ns=S // 100)
    p = perceiver(cutter, "a")
    blocks = [np.arange(4 * i, 4 * i + 4, dtype=np.float32) for i in range(4)]
    windows = feed(p, *(sample("a", 0.04 * i, b) for i, b in enumerate(blocks)))
    assert [w.values[0].tolist() for w in windows] == [[*range(6)], [*range(3, 9)], [*range(6, 12)], [*range(9, 15)]]
    assert windows[0].end_ns - windows[0].start_ns == 5 * S // 100


def test_rows_that_show_a_value_which_came_too_late_for_its_own_say_so() -> None:
    p = perceiver(grid("a", rows=1), "a")
    p.take([sample("a", 0.0, 1.0)])
    p.tick(mono(2.6))
    p.take([sample("a", 1.5, 9.0, late_s=1.2)])
    (late,) = p.tick(mono(3.6))
    (again,) = p.take([sample("a", 4.0, 2.0)]) or p.tick(mono(4.6))
    assert (late.values[0].tolist(), late.quality[0].tolist(), late.fit) == ([9.0], [Quality.LATE], True)
    assert again.quality[0].tolist() == [0]


def test_a_hole_in_a_waveform_starts_the_window_afresh() -> None:
    cutter = Wave(channel("a"), rows=8, hop=8, step_ns=S // 100)
    p = perceiver(cutter, "a")
    block = np.zeros(4, np.float32)
    assert feed(p, sample("a", 0.0, block), sample("a", 5.0, block + 1)) == []
    assert cutter.counts["breaks"] == 1


def test_a_cycle_becomes_one_window_of_the_wanted_length() -> None:
    phase = {"now": 0}
    one_row = grid("a", rows=1)
    cutter = Cycles(one_row, start=lambda: phase["now"] == 1, stop=lambda: phase["now"] == 2, rows=5, longest=100)
    p = perceiver(cutter, "a")
    windows: list[Window] = []
    for t in range(12):
        phase["now"] = 1 if 2 <= t < 9 else 2 if t >= 9 else 0
        windows += feed(p, sample("a", float(t), float(t)))
    assert [w.values.shape for w in windows] == [(1, 5)]
    assert windows[0].values[0].tolist() == sorted(windows[0].values[0].tolist())


def test_a_cycle_that_never_stops_is_given_up_and_counted() -> None:
    phase = {"now": False}
    cutter = Cycles(grid("a", rows=1), start=lambda: phase["now"], stop=lambda: None, rows=5, longest=4)
    p = perceiver(cutter, "a")
    for t in range(20):
        phase["now"] = t > 2
        assert feed(p, sample("a", float(t), 1.0)) == []
    assert cutter.counts["given_up"] == 1


def test_a_long_sleep_starts_a_new_grid_but_keeps_the_last_values() -> None:
    cutter = grid("a", rows=2)
    p = perceiver(cutter, "a")
    feed(p, sample("a", 0.0, 1.0), sample("a", 1.0, 1.0))
    p.alive("c", mono(5000))
    windows = [w for t in (5000.6, 5001.6, 5002.6) for w in p.tick(mono(t))]
    assert cutter.counts["jumps"] == 1
    assert windows[-1].values[0].tolist() == [1.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30), st.floats(allow_nan=True, width=32), st.integers(0, 2)), max_size=80))
def test_whatever_comes_rows_go_forward_and_an_unfit_window_says_why(events: list[tuple[str, float, float, int]]) -> None:
    p = perceiver(grid("a", "b", rows=2), "a", "b", low=-100.0, high=100.0)
    windows: list[Window] = []
    now = 0.0
    for tag, at, value, quality in events:
        now = max(now, at)
        windows += p.take([sample(tag, at, value, quality, late_s=now - at)])
    windows += p.tick(mono(now + 2))
    assert all(a.end_ns < b.end_ns for a, b in pairwise(windows))
    assert all(np.isfinite(w.values).all() for w in windows if w.fit)
    assert all(bool(w.reasons) is not w.fit for w in windows)
