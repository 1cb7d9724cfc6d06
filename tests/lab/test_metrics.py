"""Are the figures right?"""

import numpy as np
import pytest

from edge_agent.lab import metrics


def flags(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text])


def test_detection_counts_rows_delays_and_episodes() -> None:
    truth, alarm = flags("0000111100001111"), flags("0110011100000000")
    found = metrics.detection([(alarm, truth)], every_s=2.0)
    assert found["f1"] == pytest.approx(2 * 3 / (3 + 2 + 8))
    assert found["false_alarm_rate"] == pytest.approx(2 / 8)
    assert found["missed_alarm_rate"] == pytest.approx(5 / 8)
    assert found["missed_events"] == 1
    assert found["median_delay_s"] == pytest.approx(np.median([1, 4]) * 2.0)
    assert found["false_episodes_per_hour"] == pytest.approx(1 / (8 * 2 / 3600))


def test_an_alarm_that_reaches_into_a_fault_is_no_false_episode() -> None:
    assert metrics.false_episodes(flags("0011110"), flags("0000111")) == 0


def test_the_best_clock_finds_faults_that_always_come_at_the_same_time() -> None:
    truth = np.arange(100) >= 60
    series = [(truth, truth)] * 3
    begin, end = metrics.best_clock(series)
    assert metrics.detection(metrics.clock(series, begin, end), 1.0)["f1"] > 0.95


def test_auroc_counts_ties_half_and_needs_both_kinds() -> None:
    assert metrics.auroc(np.array([1.0, 2.0, 2.0, 3.0]), flags("0011")) == pytest.approx(3.5 / 4)
    assert metrics.auroc(np.array([1.0, 2.0]), flags("11")) is None


def test_macro_f1_is_the_mean_over_classes_that_occur() -> None:
    found = metrics.classification(["a", "a", "b", "c"], ["a", "b", "b", "b"])
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 4) / 2)


def test_calibration_error_is_zero_for_one_who_knows_what_he_knows() -> None:
    sure = np.concatenate([np.full(100, 0.75), np.full(10, 1.0)])
    right = np.concatenate([np.arange(100) < 75, np.ones(10, bool)])
    assert metrics.ece(metrics.reliability(sure, right)) == pytest.approx(0.0)
    assert metrics.ece(metrics.reliability(sure, ~right)) > 0.4


def test_the_interval_draws_whole_groups_and_repeats() -> None:
    items = [("a", 1.0), ("a", 1.0), ("b", 0.0), ("c", 0.5)]
    figure = lambda drawn: {"mean": float(np.mean([v for _, v in drawn]))}  # noqa: E731
    one = metrics.interval(items, lambda i: i[0], figure)
    assert one == metrics.interval(items, lambda i: i[0], figure)
    low, high = one["mean"]
    assert 0.0 <= low < 0.625 < high <= 1.0
    assert metrics.interval(items[:3], lambda i: i[0], figure) == {}
