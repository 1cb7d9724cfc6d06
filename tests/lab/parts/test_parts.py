"""Do the pieces of a graph compute what scipy computes, and does the agent admit them?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from scipy import interpolate, signal, stats

from edge_agent.diagnose import admission
from edge_agent.diagnose import card as cards
from edge_agent.lab.parts.bands import bands
from edge_agent.lab.parts.channels import contributions, features, logged
from edge_agent.lab.parts.crest import crest
from edge_agent.lab.parts.envelope import envelope
from edge_agent.lab.parts.kurtosis import kurtosis
from edge_agent.lab.parts.orders import orders
from edge_agent.lab.parts.pca import fit, t2_and_q
from edge_agent.lab.parts.rms import rms
from edge_agent.lab.parts.sketch import Sketch
from edge_agent.lab.parts.spectrum import frequencies, spectrum

RATE, ROWS, CHANNELS = 2560.0, 512, 3
Arrays = NDArray[np.float32]


def waves(count: int = 5, rows: int = ROWS, seed: int = 0) -> Arrays:
    """Noise, lines, shocks and a large mean."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows) / RATE
    lines = np.sin(2 * np.pi * 50 * t) + 0.3 * np.sin(2 * np.pi * 430 * t)
    shocks = (np.arange(rows) % 64 == 0) * rng.normal(4, 1, (count, CHANNELS, rows))
    return (9.81 + rng.normal(0, 0.5, (count, CHANNELS, rows)) + lines + shocks).astype(np.float32)


def run(make: Callable[[Sketch], str], x: Arrays, shape: Sequence[int], **more: Arrays) -> Any:
    """The piece's output for windows, after the agent's own admission."""
    g = Sketch()
    inputs: Mapping[str, Sequence[int]] = {"window": x.shape[1:], **{name: array.shape[1:] for name, array in more.items()}}
    made = g.finish(inputs, {"out": (make(g), shape)})
    return ort.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, {"window": x, **more})[0]


def test_rms_is_the_standard_deviation() -> None:
    x = waves()
    assert np.allclose(run(lambda g: rms(g, "window"), x, [CHANNELS]), x.astype(float).std(axis=2), rtol=1e-5)


def test_kurtosis_is_that_of_scipy() -> None:
    x = waves()
    found = run(lambda g: kurtosis(g, "window"), x, [CHANNELS])
    assert np.allclose(found, stats.kurtosis(x.astype(float), axis=2, fisher=False), rtol=1e-4)


def test_crest_is_peak_over_rms() -> None:
    x = waves()
    c = x.astype(float) - x.astype(float).mean(axis=2, keepdims=True)
    assert np.allclose(run(lambda g: crest(g, "window"), x, [CHANNELS]), np.abs(c).max(axis=2) / c.std(axis=2), rtol=1e-5)


@pytest.mark.parametrize("make", [kurtosis, crest, rms])
def test_a_channel_that_stands_still_gives_a_number(make: Any) -> None:
    assert np.isfinite(run(lambda g: make(g, "window"), np.full((2, CHANNELS, ROWS), 9.81, np.float32), [CHANNELS])).all()


@pytest.mark.parametrize("rows", [512, 500, 501])
def test_the_spectrum_is_scipys_periodogram(rows: int) -> None:
    x = waves(rows=rows)
    lines, power = signal.periodogram(x.astype(float), RATE, window="hann", detrend="constant", scaling="spectrum")
    found = run(lambda g: spectrum(g, "window", rows=rows), x, [CHANNELS, rows // 2 + 1])
    assert np.allclose(lines, frequencies(rows, RATE))
    assert np.allclose(found, power, rtol=1e-3, atol=1e-6 * power.max())


def test_band_energies_are_sums_of_its_lines() -> None:
    x, edges = waves(), [(0.0, 100.0), (100.0, 400.0), (400.0, 460.0)]
    lines, power = signal.periodogram(x.astype(float), RATE, window="hann", detrend="constant", scaling="spectrum")
    wanted = np.stack([power[..., (lines >= a) & (lines < b)].sum(axis=-1) for a, b in edges], axis=-1)
    make = lambda g: bands(g, spectrum(g, "window", rows=ROWS), rows=ROWS, rate_hz=RATE, edges_hz=edges)  # noqa: E731
    assert np.allclose(run(make, x, [CHANNELS, 3]), wanted, rtol=1e-3, atol=1e-6)


def test_a_band_between_two_lines_is_an_error() -> None:
    with pytest.raises(ValueError, match="lines are 5 Hz apart"):
        bands(Sketch(), "x", rows=ROWS, rate_hz=RATE, edges_hz=[(1.0, 2.0)])


@pytest.mark.parametrize(("low", "high", "size"), [(300.0, 900.0, 128), (100.0, 420.0, 64), (10.0, 1280.0, 256)])
def test_the_envelope_is_scipys_hilbert_of_the_band(low: float, high: float, size: int) -> None:
    x = waves()
    lines = np.fft.rfftfreq(ROWS, 1 / RATE)
    passed = np.fft.irfft(np.fft.rfft(x.astype(float)) * ((lines >= low) & (lines < high)), ROWS)
    found = run(lambda g: envelope(g, "window", rows=ROWS, rate_hz=RATE, band_hz=(low, high)).name, x, [CHANNELS, size])
    assert found.shape[2] == size
    assert np.allclose(found, np.abs(signal.hilbert(passed))[..., :: ROWS // size], rtol=1e-3, atol=1e-4)


def test_the_spectrum_of_the_envelope_shows_how_often_a_bearing_is_hit() -> None:
    hit_hz, rings_hz = 40.0, 700.0
    t = np.arange(2048) / RATE
    ring = np.exp(-((t % (1 / hit_hz)) * 300)) * np.sin(2 * np.pi * rings_hz * t)
    x = (ring + 0.2 * np.random.default_rng(1).normal(size=(1, 1, 2048)) + 2 * np.sin(2 * np.pi * 25 * t)).astype(np.float32)
    made = envelope(Sketch(), "window", rows=2048, rate_hz=RATE, band_hz=(500, 900))
    make = lambda g: spectrum(g, envelope(g, "window", rows=2048, rate_hz=RATE, band_hz=(500, 900)).name, rows=made.rows)  # noqa: E731
    found = run(make, x, [1, made.rows // 2 + 1])[0, 0]
    assert frequencies(made.rows, made.rate_hz)[found.argmax()] == pytest.approx(hit_hz, abs=RATE / 2048)


def test_orders_stay_where_they_are_while_the_shaft_runs_up() -> None:
    rows = 4096
    speed = np.linspace(20, 40, rows)
    turns = np.cumsum(speed) / RATE
    x = (np.sin(2 * np.pi * turns) + 0.25 * np.sin(2 * np.pi * 3 * turns + 1) + 5).astype(np.float32)[None, None]
    make = lambda g: orders(g, "window", "speed", rows=rows, rate_hz=RATE, of=[1.0, 2.0, 3.0])  # noqa: E731
    found = run(make, x, [1, 3], speed=speed.astype(np.float32)[None, None])[0, 0]
    assert found == pytest.approx([1.0, 0.0, 0.25], abs=0.02)
    plain = signal.periodogram(x[0, 0] - 5, RATE, window="hann", scaling="spectrum")[1]
    assert np.sqrt(2 * plain.max()) < 0.6, "an ordinary spectrum smears it"


def test_orders_are_those_of_the_signal_resampled_by_angle() -> None:
    rows, rng = 4096, np.random.default_rng(2)
    speed = 30 + 2 * np.sin(np.arange(rows) / 500)
    turns = np.cumsum(speed) / RATE
    x = np.sin(2 * np.pi * 2 * turns) + 0.5 * np.sin(2 * np.pi * 5 * turns) + 0.05 * rng.normal(size=rows)
    even = turns[0] + np.arange(64 * int(turns[-1] - turns[0])) / 64  # whole revolutions: the orders lie on lines
    by_angle = interpolate.interp1d(turns, x, "cubic")(even)
    lines, power = signal.periodogram(by_angle, 64, window="hann", scaling="spectrum")
    wanted = [np.sqrt(2 * power[np.abs(lines - k) < 0.03].max()) for k in (2, 5)]
    make = lambda g: orders(g, "window", "speed", rows=rows, rate_hz=RATE, of=[2.0, 5.0])  # noqa: E731
    found = run(make, x.astype(np.float32)[None, None], [1, 2], speed=speed.astype(np.float32)[None, None])[0, 0]
    assert found == pytest.approx(wanted, rel=0.02)


def test_t2_and_q_are_what_the_textbook_says() -> None:
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(2, 6))
    clean = rng.normal(size=(600, 2)) @ mixing + 0.1 * rng.normal(size=(600, 6)) + 7
    fitted = fit(clean[:400], clean[400:], explained=0.95)
    assert fitted.directions.shape == (6, 2)
    z = (clean - clean[:400].mean(axis=0)) / clean[:400].std(axis=0)
    values, vectors = np.linalg.eigh(np.cov(z[:400].T, bias=True))
    p, v = vectors[:, -2:], values[-2:]
    t2, q = fitted.statistics(clean)
    assert np.allclose(t2, ((z @ p) ** 2 / v).sum(axis=1))
    assert np.allclose(q, ((z - z @ p @ p.T) ** 2).sum(axis=1))
    assert (t2[400:] <= fitted.t2_limit).mean() == pytest.approx(0.99, abs=0.006)


def test_a_broken_relation_raises_q_and_a_far_one_t2_and_both_are_blamed_rightly() -> None:
    rng = np.random.default_rng(4)
    clean = np.repeat(rng.normal(size=(600, 1)), 3, axis=1) + 0.05 * rng.normal(size=(600, 3))
    fitted = fit(clean[:400], clean[400:])
    far, broken = np.full((1, 3), 6.0), np.array([[0.5, 0.5, -1.5]])

    def ask(which: int, x: Any, shape: Sequence[int]) -> Any:
        return run(lambda g: t2_and_q(g, "window", fitted)[which], x.astype(np.float32), shape)

    assert ask(0, far, []) > 2
    assert ask(1, far, []) < 1.5
    assert ask(1, broken, []) > 20
    assert ask(2, broken, [3])[0].argmax() == 2
    t2, q = fitted.statistics(broken)
    assert ask(0, broken, [])[0] == pytest.approx(t2[0] / fitted.t2_limit, rel=1e-3)
    assert ask(1, broken, [])[0] == pytest.approx(q[0] / fitted.q_limit, rel=1e-3)


def test_too_few_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="12 to fit on and 100 for the limits"):
        fit(np.zeros((5, 6)), np.zeros((200, 6)))


def test_a_whole_front_end_is_admitted_and_its_cost_is_small() -> None:
    g, x = Sketch(), waves(400)
    power = spectrum(g, "window", rows=ROWS)
    edges = [(5.0, 200.0), (200.0, 600.0), (600.0, 1280.0)]
    rings = envelope(g, "window", rows=ROWS, rate_hz=RATE, band_hz=(300, 1200))
    hit = bands(g, spectrum(g, rings.name, rows=rings.rows), rows=rings.rows, rate_hz=rings.rate_hz, edges_hz=[(20, 60)])
    energies = bands(g, power, rows=ROWS, rate_hz=RATE, edges_hz=edges)
    single = [logged(g, rms(g, "window")), kurtosis(g, "window"), crest(g, "window")]
    made, each = features(g, single, [(logged(g, energies), 3), (logged(g, hit), 1)], channels=CHANNELS)
    front = g.finish({"window": [CHANNELS, ROWS]}, {"features": (made, [CHANNELS * each])})
    table = ort.InferenceSession(front, providers=["CPUExecutionProvider"]).run(None, {"window": x})[0]
    t2, q, parts = t2_and_q(g, made, fit(table[:200].astype(float), table[200:].astype(float)))
    blame = contributions(g, parts, channels=CHANNELS, each=each)
    whole = g.finish({"window": [CHANNELS, ROWS]}, {"t2": (t2, []), "q": (q, []), "contributions": (blame, [CHANNELS])})
    card = cards.check(
        {
            "format": 1, "name": "vib", "version": "1.0.0", "head": {"type": "anomaly", "method": "pca"},
            "window": {"rows": ROWS}, "roles": [{"role": n} for n in ("x", "y", "z")],
            "graph": {"outputs": {"t2": "t2", "q": "q", "contributions": "contributions"}},
            "intended": {"use": "tests"}, "provenance": {"data": "made up", "data_licence": "CC0-1.0"},
        }
    )  # fmt: skip
    assert admission.admit(whole, card, "vib")
    session = ort.InferenceSession(whole, providers=["CPUExecutionProvider"])
    found = session.run(None, {"window": x})
    assert 0.95 <= np.mean(np.maximum(found[0], found[1]) <= 1.2) <= 1.0
    loose = x[:4].copy()
    loose[:, 1] = 9.81 + 4 * (loose[:, 1] - 9.81)
    t2s, qs, blamed = session.run(None, {"window": loose})
    assert (np.maximum(t2s, qs) > 3).all()
    assert (blamed.argmax(axis=1) == 1).all()
