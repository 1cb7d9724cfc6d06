"""Novelty, calibration, smoothing, baseline: the arithmetic of trust."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diagnose import baseline, trust
from edge_agent.diagnose.build import envelope
from edge_agent.diagnose.card import Baseline, Calibration, Envelope


def known(data: dict[str, object]) -> trust.Familiarity:
    import json

    return trust.Familiarity(Envelope.model_validate_json(json.dumps(data)))


def test_features_are_means_then_standard_deviations() -> None:
    window = np.array([[1, 2, 3, 4], [5, 5, 5, 5]], dtype=np.float32)
    assert trust.features(window) == pytest.approx([2.5, 5.0, np.std([1, 2, 3, 4]), 0.0])
    scaled = trust.features(window, np.array([[0.5, 5.0], [2.0, 10.0]]))
    assert scaled == pytest.approx([1.0, 0.0, np.std([1, 2, 3, 4]) / 2, 0.0])


@pytest.mark.parametrize("correlated", [True, False])
def test_novelty_is_the_share_of_training_windows_that_lay_nearer(correlated: bool, tiny: SimpleNamespace) -> None:
    training = tiny.windows(400)
    judge = known(envelope(training, correlated=correlated))
    found = [judge.novelty(w) for w in training]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)
    assert max(found) <= 1.0
    assert judge.novelty(training[0] + 5) == 1.0


def test_reach_stretches_what_counts_as_known(tiny: SimpleNamespace) -> None:
    training = tiny.windows(400)
    odd = training[0] + np.float32(0.15)
    assert known(envelope(training)).novelty(odd) == 1.0
    assert known(envelope(training, reach=10)).novelty(odd) < 0.9


def test_a_channel_that_stood_still_in_training_still_has_a_scale(tiny: SimpleNamespace) -> None:
    training = tiny.windows(50)
    training[:, 1] = 2.0
    assert np.isfinite(known(envelope(training)).novelty(training[0]))


def test_calibration_is_straight_between_the_points_and_level_beyond() -> None:
    lines = Calibration(raw=(0.0, 2.0, 4.0), score=(0.0, 0.5, 1.0))
    assert [trust.calibrate(r, lines) for r in (-1.0, 1.0, 3.0, 9.0)] == [0.0, 0.25, 0.75, 1.0]
    assert trust.uncalibrate(0.75, lines) == 3.0
    assert trust.calibrate(7.5, None) == trust.uncalibrate(7.5, None) == 7.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(1, 9))
def test_the_running_median_is_numpy_s(values: list[float], size: int) -> None:
    smooth = trust.Median(size)
    for seq, value in enumerate(values):
        got = smooth.add(seq, (value,))[0]
        assert got == np.median(values[max(0, seq - size + 1) : seq + 1])


def test_the_baseline_is_robust_and_has_a_floor() -> None:
    rows = np.tile([[10.0, 3.0]], (101, 1)) + np.array([[0.0, 0.0]])
    rows[:, 0] += np.linspace(-1, 1, 101)
    rows[7] = [1e6, 1e6]
    found = baseline.learn(rows, Baseline(rows=101, floor=(0.01, 0.5)))
    assert found.dtype == np.float32
    assert found[0] == pytest.approx([10.0, 3.0], abs=0.05)
    assert found[1] == pytest.approx([0.5 * baseline.MAD_TO_STD, 0.5], abs=0.05)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e3, 1e3)), min_size=2, max_size=30, unique_by=lambda point: point[0]),
    st.floats(-10, 2e6),
)
def test_a_number_between_two_points_is_what_numpy_makes_of_it(points: list[tuple[float, float]], x: float) -> None:
    xs, ys = zip(*sorted(points), strict=True)
    assert trust.between(x, xs, ys) == pytest.approx(float(np.interp(x, xs, ys)), rel=1e-12, abs=1e-9)
