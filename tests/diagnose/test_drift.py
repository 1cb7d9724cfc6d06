"""Does the drift watch find what has moved, keep quiet about what has not, and agree with scipy?"""

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from edge_agent.config.model import Diagnose, Drift
from edge_agent.diagnose import build
from edge_agent.diagnose.card import Envelope, Histogram
from edge_agent.diagnose.drift import FEWEST, MEMORY, Binned, Watch, Weights
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.runtime import InProcessRuntime

TAGS = ("flow", "pressure", "current")
HOUR_NS = 3_600_000_000_000


def reference(size: int = 20_000) -> np.ndarray:
    return np.random.default_rng(1).normal(size=size)


def watch(tiny: Any, **config: Any) -> Watch:
    envelope = Envelope.model_validate_json(json.dumps(build.envelope(tiny.windows(400))))
    return Watch(Drift(**config), envelope=envelope, score=Histogram(**tuples(build.histogram(reference()))), tags=TAGS)


def tuples(found: dict[str, list[float]]) -> Any:
    return {name: tuple(values) for name, values in found.items()}


def feed(made: Watch, scores: Any, *, novelty: Any = None, scaled: Any = None, start: int = 0) -> list[tuple[str, ...]]:
    even = np.random.default_rng(2).uniform(size=len(scores))
    return [
        made.take(
            (start + i) * HOUR_NS,
            float(s),
            float(even[i] if novelty is None else novelty),
            np.zeros(6) if scaled is None else np.asarray(scaled),
        )
        for i, s in enumerate(scores)
    ]


def test_the_distance_of_two_samples_is_that_of_scipy_where_the_bins_can_see_it() -> None:
    usual, now = reference(), np.random.default_rng(3).normal(0.4, 1.2, size=MEMORY)
    made = Binned(*build.histogram(usual).values())
    weights = Weights()
    for value in now:
        made.take(float(value), weights.next())
    edges = np.array(build.histogram(usual)["edges"])
    at_edges = [np.mean(usual < e) - np.mean(now < e) for e in edges]
    assert abs(made.ks()) == pytest.approx(np.abs(at_edges).max(), abs=1e-3)
    exact = stats.ks_2samp(usual, now).statistic
    assert exact - 0.1 <= abs(made.ks()) <= exact + 1e-3, "bins see a little less than the whole"


def test_the_stability_index_is_the_sum_of_two_entropies_of_scipy() -> None:
    found = build.histogram(reference())
    made, weights = Binned(found["edges"], found["share"]), Weights()
    now = np.random.default_rng(4).normal(0.5, size=MEMORY)
    for value in now:
        made.take(float(value), weights.next())
    share = np.bincount(np.searchsorted(found["edges"], now, side="right"), minlength=10) / len(now)
    both_ways = stats.entropy(share, found["share"]) + stats.entropy(found["share"], np.maximum(share, 1e-12))
    assert made.psi() == pytest.approx(both_ways, rel=1e-3)


def test_a_thousand_clean_windows_do_not_drift(tiny: SimpleNamespace) -> None:
    made = watch(tiny)
    rng = np.random.default_rng(5)
    said = feed(made, rng.normal(size=1000))
    assert not any(said)


def test_twenty_plants_that_run_clean_for_a_year_raise_no_false_word(tiny: SimpleNamespace) -> None:
    said = [feed(watch(tiny), np.random.default_rng(seed).normal(size=1000)) for seed in range(20)]
    assert sum(any(one) for one in said) == 0


def test_a_score_that_creeps_up_is_found_and_named(tiny: SimpleNamespace) -> None:
    made = watch(tiny)
    said = feed(made, np.random.default_rng(6).normal(size=600) + np.linspace(0, 1.5, 600))
    first = next(i for i, found in enumerate(said) if found)
    assert FEWEST <= first < 500
    assert said[-1][0].startswith("score: PSI")


def test_a_score_that_falls_is_no_drift(tiny: SimpleNamespace) -> None:
    assert not any(feed(watch(tiny), np.random.default_rng(7).normal(-1.5, 0.3, size=400)))


def test_an_input_that_has_moved_is_named_with_its_direction(tiny: SimpleNamespace) -> None:
    said = feed(watch(tiny), reference(300), scaled=[0, -4.0, 0, 0, 0, 0])
    assert said[FEWEST - 2] == ()
    assert said[-1] == ("pressure level: -4.0 deviations",)


def test_one_torn_sensor_for_a_moment_is_no_drift(tiny: SimpleNamespace) -> None:
    made = watch(tiny)
    feed(made, reference(300))
    said = feed(made, reference(5), scaled=[1e9, 0, 0, 0, 0, 0], start=300)
    assert not any(said)


def test_novelty_near_its_limit_for_long_is_found(tiny: SimpleNamespace) -> None:
    said = feed(watch(tiny), reference(300), novelty=0.99)
    assert said[-1][0].startswith("novelty: KS")


def test_a_finding_stands_until_it_has_clearly_gone(tiny: SimpleNamespace) -> None:
    made = watch(tiny, shift=2.0)
    feed(made, reference(400), scaled=[2.2, 0, 0, 0, 0, 0])
    back = [bool(found) for found in feed(made, reference(400), scaled=[1.7, 0, 0, 0, 0, 0], start=400)]
    assert all(back), "1.7 is above 0.8 of the limit"
    gone = [bool(found) for found in feed(made, reference(400), scaled=[1.0, 0, 0, 0, 0, 0], start=800)]
    assert not gone[-1]
    assert sum(a != b for a, b in pairwise(gone)) == 1, "it does not flicker"


def test_windows_that_overlap_or_come_too_soon_do_not_count(tiny: SimpleNamespace) -> None:
    made = watch(tiny, over="200 s")
    assert made.due(0, 8)
    made.take(10_000_000_000, 0.1, 0.5, np.zeros(6))
    assert not made.due(9_000_000_000, 12_000_000_000), "it overlaps"
    assert not made.due(10_000_000_000, 10_900_000_000), "a 200th of 200 s has not passed"
    assert made.due(10_000_000_000, 11_000_000_000)
    assert made.due(1_000_000_000, 2_000_000_000), "the clock was set back: go on from there"


@pytest.mark.anyio
async def test_the_diagnosis_says_that_the_loop_drifts(tiny: SimpleNamespace, tmp_path: Any, in_process: InProcessRuntime) -> None:
    folder = tiny.write(tmp_path / "tiny", envelope=build.envelope(tiny.windows(400), reach=5.0))
    await in_process.load(folder)
    bundle = tiny.read(folder)

    async def run(offset: float) -> Any:
        config = Diagnose(model="tiny", drift=Drift(over="200 s"))
        made = Diagnoser("p1", bundle, bundle.head(), in_process, config, tags=TAGS, scale={})
        windows = tiny.windows(120, seed=9)
        windows[:, 0] += offset
        for i, values in enumerate(windows):
            found = await made.diagnose(tiny.window(values, seq=(i + 1) * tiny.ROWS))
        return found, made.status()["drift"]

    clean, _ = await run(0.0)
    moved, status = await run(0.15)
    again, _ = await run(0.15)
    assert clean.drifting == ()
    assert moved.status == "ok"
    assert any(text.startswith("flow level: +") for text in moved.drifting)
    assert moved == again
    assert status["drifting"] is True
    assert status["windows"] == 120


@pytest.mark.anyio
async def test_an_alarm_that_is_evidence_does_not_count(tiny: SimpleNamespace, tmp_path: Any, in_process: InProcessRuntime) -> None:
    folder = tiny.write(tmp_path / "tiny")
    await in_process.load(folder)
    bundle = tiny.read(folder)
    made = Diagnoser("p1", bundle, bundle.head(), in_process, Diagnose(model="tiny"), tags=TAGS, scale={})
    assert (await made.diagnose(tiny.window(tiny.windows(1)[0] + 5, seq=100))).score >= 0.5
    assert made.status()["drift"]["windows"] == 0


@pytest.mark.anyio
async def test_a_loop_may_do_without_the_watch(tiny: SimpleNamespace, folder: Any, in_process: InProcessRuntime) -> None:
    await in_process.load(folder)
    bundle = tiny.read(folder)
    made = Diagnoser("p1", bundle, bundle.head(), in_process, Diagnose(model="tiny", drift=None), tags=TAGS, scale={})
    assert (await made.diagnose(tiny.window())).drifting == ()
    assert made.status() == {"drift": None}
