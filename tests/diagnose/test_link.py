"""What does the link say of a window, whatever the window and the model do?"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_agent.config.model import Diagnose, Trust
from edge_agent.diagnose.build import envelope
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.diagnose.worker import WorkerRuntime
from edge_agent.errors import ModelRefused
from edge_agent.messages import Diagnosis, Quality

pytestmark = pytest.mark.anyio


class Broken:
    """A runtime that does nothing but raise, or answer what it is told."""

    def __init__(self, answer: Exception | Mapping[str, Any]) -> None:
        self._answer = answer

    async def load(self, bundle: Path) -> None: ...
    async def close(self) -> None: ...

    async def run(self, bundle: Path, feeds: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return dict(self._answer)


def diagnoser(tiny: SimpleNamespace, folder: Path, runtime: Any, **more: Any) -> Diagnoser:
    bundle = tiny.read(folder)
    config = more.pop("config", None) or Diagnose(model="tiny")
    return Diagnoser("p1", bundle, bundle.head(), runtime, config, tags=more.pop("tags", tiny.TAGS), scale=more.pop("scale", {}), **more)


@pytest.fixture
async def ready(tmp_path: Path, tiny: SimpleNamespace, in_process: InProcessRuntime) -> Any:
    """Write a bundle with these changes to the card, load it in this process, and put a diagnoser before it."""

    async def make(
        made: Any = None, vectors: Any = None, *, tags: Any = None, scale: Any = None, config: Any = None, **changes: Any
    ) -> Diagnoser:
        folder = tiny.write(tmp_path / "tiny", made, vectors, **changes)
        await in_process.load(folder)
        return diagnoser(tiny, folder, in_process, tags=tags or tiny.TAGS, scale=scale or {}, config=config)

    return make


def shifted(tiny: SimpleNamespace, **by: float) -> Any:
    values = tiny.windows(1)[0].copy()
    for tag, amount in by.items():
        values[tiny.TAGS.index(tag)] += amount
    return values


async def test_a_normal_window_is_ok_and_scores_low(ready: Any, tiny: SimpleNamespace) -> None:
    found = await (await ready()).diagnose(tiny.window())
    assert (found.status, found.model, found.window) == ("ok", "tiny@1.0.0", 1)
    assert found.score is not None
    assert found.score < 0.01
    assert len(found.model_hash) == 64


async def test_a_deviation_scores_high_and_blames_its_tag(ready: Any, tiny: SimpleNamespace) -> None:
    found = await (await ready()).diagnose(tiny.window(shifted(tiny, pressure=5.0)))
    assert found.score == pytest.approx(0.83, abs=0.05)  # 25 / 3, calibrated by 1 / 10
    assert found.contributions[0][0] == "pressure"
    assert sum(share for _, share in found.contributions) == pytest.approx(1.0)


async def test_an_unfit_window_is_unknown_with_its_reasons(ready: Any, tiny: SimpleNamespace) -> None:
    found = await (await ready()).diagnose(tiny.window(fit=False, reasons=("flow: stale 4.2 s", "current: gap")))
    assert (found.status, found.why, found.score) == ("unknown", "flow: stale 4.2 s; current: gap", None)


async def test_a_value_that_is_not_finite_is_unknown_and_named(ready: Any, tiny: SimpleNamespace) -> None:
    values = tiny.windows(1)[0].copy()
    values[1, 3] = np.nan
    found = await (await ready()).diagnose(tiny.window(values))
    assert (found.status, found.why) == ("unknown", "pressure: not finite")


async def test_a_window_of_the_wrong_size_is_failed(ready: Any, tiny: SimpleNamespace) -> None:
    found = await (await ready()).diagnose(tiny.window(np.zeros((3, 9), np.float32)))
    assert found.status == "failed"
    assert "(3, 9)" in found.why


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (TimeoutError("no answer within 1 s"), "late", "no answer"),
        (RuntimeError("the worker killed by signal 9"), "failed", "signal 9"),
        ({"score": np.array([np.nan], np.float32), "contributions": np.zeros((1, 3), np.float32)}, "failed", "score is not finite"),
        ({"score": np.zeros(1, np.float32), "contributions": np.full((1, 3), np.inf, np.float32)}, "failed", "contributions is not finite"),
    ],
    ids=["late", "crashed", "NaN out", "infinity out"],
)
async def test_whatever_the_model_does_is_a_status(answer: Any, status: str, why: str, folder: Path, tiny: SimpleNamespace) -> None:
    found = await diagnoser(tiny, folder, Broken(answer)).diagnose(tiny.window())
    assert (found.status, found.score) == (status, None)
    assert why in found.why


# ---------------------------------------------------------------- roles and units


async def test_tags_are_put_into_the_order_and_the_unit_of_the_roles(ready: Any, tiny: SimpleNamespace) -> None:
    config = Diagnose(model="tiny", roles={"flow": "FT1", "pressure": "PT1", "current": "IT1"})
    made = await ready(tags=("PT1", "IT1", "FT1"), scale={"PT1": (0.001, 0.0)}, config=config)
    values = shifted(tiny, current=5.0)
    values[1] *= 1000  # mbar
    found = await made.diagnose(tiny.window(np.ascontiguousarray(values[[1, 2, 0]]), tags=("PT1", "IT1", "FT1")))
    assert found.status == "ok"
    assert found.contributions[0][0] == "IT1"
    assert found.contributions[0][1] > 0.99


@pytest.mark.parametrize(
    ("tags", "roles", "reason"),
    [
        (("flow", "pressure"), {}, "2 tags; tiny@1.0.0 takes 3: flow, pressure, current"),
        (("a", "b", "c"), {"flow": "a", "pressure": "b", "curent": "c"}, "curent, current: missing or unknown"),
        (("a", "b", "c"), {"flow": "a", "pressure": "a", "current": "c"}, "must have exactly one role"),
    ],
    ids=["too few tags", "misspelt role", "one tag twice"],
)
def test_tags_that_do_not_fit_the_roles_are_refused(tags: Any, roles: Any, reason: str, folder: Path, tiny: SimpleNamespace) -> None:
    with pytest.raises(ModelRefused) as refused:
        diagnoser(tiny, folder, Broken({}), tags=tags, config=Diagnose(model="tiny", roles=roles))
    assert reason in str(refused.value)


# ---------------------------------------------------------------- novelty, confidence, smoothing


async def test_a_strange_window_is_novel_and_names_the_tag(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(envelope=envelope(tiny.windows(500)), thresholds={"novelty": 0.99})
    assert (await made.diagnose(tiny.window())).status == "ok"
    found = await made.diagnose(tiny.window(shifted(tiny, current=3.0)))
    assert (found.status, found.novelty) == ("novel", 1.0)
    assert found.why.startswith("novelty 1.000 above 0.99: current: level")


async def test_a_value_beyond_the_training_range_is_novel_and_says_so(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(envelope=envelope(tiny.windows(500), margin=0.5), thresholds={"novelty": 0.99})
    values = tiny.windows(1)[0].copy()
    values[0, 4] = 30.0
    found = await made.diagnose(tiny.window(values))
    assert found.status == "novel"
    assert "flow: 30 lies above the 10.69 it knows" in found.why


async def test_a_site_may_tighten_the_novelty_but_never_loosen_it(ready: Any, tiny: SimpleNamespace, tmp_path: Path) -> None:
    changes = {"envelope": envelope(tiny.windows(500)), "thresholds": {"novelty": 0.9}}
    odd = tiny.window(tiny.windows(1, spread=0.17, seed=3)[0])
    loose = await ready(config=Diagnose(model="tiny", trust=Trust(novelty=1.0)), **changes)
    assert (await loose.diagnose(odd)).status == "novel"
    usual = tiny.window(tiny.windows(1, seed=5)[0])
    tight = await ready(config=Diagnose(model="tiny", trust=Trust(novelty=0.0)), **changes)
    assert (await tight.diagnose(usual)).status == "novel"


async def test_the_score_is_the_median_of_the_last_windows(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(smoothing={"median": 3})
    calm, wild = tiny.windows(1)[0], shifted(tiny, flow=10.0)
    scores = [(await made.diagnose(tiny.window(v, seq=i + 1))).score for i, v in enumerate([calm, wild, calm, wild, wild])]
    assert [s > 0.5 for s in scores] == [False, True, False, True, True]


async def test_reset_forgets_the_smoothing(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(smoothing={"median": 3})
    for seq in (1, 2):
        await made.diagnose(tiny.window(shifted(tiny, flow=10.0), seq=seq))
    made.reset()
    assert (await made.diagnose(tiny.window(seq=3))).score < 0.01


async def test_windows_without_an_answer_let_old_answers_leave(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(smoothing={"median": 3})
    for seq in (1, 2):
        await made.diagnose(tiny.window(shifted(tiny, flow=10.0), seq=seq))
    for seq in range(3, 6):
        await made.diagnose(tiny.window(seq=seq, fit=False))
    assert (await made.diagnose(tiny.window(seq=6))).score < 0.01


async def test_an_anomaly_s_confidence_is_how_many_windows_agree(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(smoothing={"median": 4}, thresholds={"alarm": 0.5, "confidence": 0.7})
    found = [
        await made.diagnose(tiny.window(v, seq=i + 1)) for i, v in enumerate([tiny.windows(1)[0]] * 2 + [shifted(tiny, flow=10.0)] * 2)
    ]
    assert [d.confidence for d in found] == [1.0, 1.0, pytest.approx(2 / 3), 0.5]
    assert [d.status for d in found] == ["ok", "ok", "unknown", "unknown"]
    assert found[-1].why == "confidence 0.500 below 0.7"


# ---------------------------------------------------------------- attribution by covering


async def test_a_graph_without_contributions_is_asked_channel_by_channel_at_an_alarm(ready: Any, tiny: SimpleNamespace) -> None:
    made = await ready(tiny.plain(contributions=False), graph={"outputs": {"score": "score"}}, envelope=envelope(tiny.windows(100)))
    assert (await made.diagnose(tiny.window())).contributions == ()
    found = await made.diagnose(tiny.window(shifted(tiny, pressure=6.0, flow=3.0), seq=2))
    assert [tag for tag, _ in found.contributions[:2]] == ["pressure", "flow"]
    assert found.contributions[0][1] == pytest.approx(0.8, abs=0.05)


# ---------------------------------------------------------------- baseline


def relative(tiny: SimpleNamespace) -> Any:
    """score = mean square of (window - centre) / scale, both learnt on site."""
    nodes = [
        tiny.node("Slice", ["baseline", "zero", "one", "one"], ["c"]),
        tiny.node("Slice", ["baseline", "one", "two", "one"], ["s"]),
        tiny.node("Squeeze", ["c", "one"], ["c1"]),
        tiny.node("Squeeze", ["s", "one"], ["s1"]),
        tiny.node("Unsqueeze", ["c1", "two"], ["c2"]),
        tiny.node("Unsqueeze", ["s1", "two"], ["s2"]),
        tiny.node("Sub", ["window", "c2"], ["d"]),
        tiny.node("Div", ["d", "s2"], ["z"]),
        tiny.node("Mul", ["z", "z"], ["e"]),
        tiny.node("ReduceMean", ["e", "two"], ["contributions"], keepdims=0),
        tiny.node("ReduceMean", ["contributions", "one"], ["score"], keepdims=0),
    ]
    constants = [tiny.tensor(n, [v], np.int64) for n, v in (("zero", 0), ("one", 1), ("two", 2))]
    return tiny.model(
        nodes,
        constants,
        inputs=[tiny.value("window", ["N", 3, 8]), tiny.value("baseline", ["N", 2, 3])],
        outputs=[tiny.value("score", ["N"]), tiny.value("contributions", ["N", 3])],
    )


RELATIVE: dict[str, Any] = {
    "graph": {"baseline": "baseline", "outputs": {"score": "score", "contributions": "contributions"}},
    "baseline": {"rows": 12, "floor": [0.01, 0.01, 0.01]},
}


@pytest.fixture
async def learning(ready: Any, tiny: SimpleNamespace) -> Diagnoser:
    base = np.stack([tiny.CENTRE, np.full(3, 0.1, np.float32)])[None].repeat(4, axis=0)
    made: Diagnoser = await ready(relative(tiny), {"window": tiny.windows(), "baseline": base}, **RELATIVE)
    return made


async def learn(made: Diagnoser, tiny: SimpleNamespace, offset: float = 0.0) -> list[Diagnosis]:
    data = np.concatenate(list(tiny.windows(3)), axis=1) + np.float32(offset)  # 24 rows
    return [await made.diagnose(tiny.window(np.ascontiguousarray(data[:, i : i + 8]), seq=i + 1)) for i in range(10)]


async def test_the_baseline_is_learnt_from_the_first_good_rows_each_once(learning: Diagnoser, tiny: SimpleNamespace) -> None:
    found = await learn(learning, tiny)
    assert [d.why for d in found[:5]] == [
        "learning baseline 8/12",
        "learning baseline 9/12",
        "learning baseline 10/12",
        "learning baseline 11/12",
        "learnt the baseline",
    ]
    assert [d.status for d in found] == ["unknown"] * 5 + ["ok"] * 5
    data = np.concatenate(list(tiny.windows(3)), axis=1)[:, :12]
    assert np.array(learning.baseline())[0] == pytest.approx(np.median(data, axis=1), rel=1e-6)


async def test_a_machine_at_another_level_is_normal_by_its_own_baseline(learning: Diagnoser, tiny: SimpleNamespace) -> None:
    found = await learn(learning, tiny, offset=40.0)
    assert found[-1].score < 0.5
    await learning.diagnose(tiny.window(shifted(tiny, flow=40.0, pressure=40.0, current=42.0), seq=20))
    found_odd = await learning.diagnose(tiny.window(shifted(tiny, flow=40.0, pressure=40.0, current=42.0), seq=21))
    assert found_odd.contributions[0][0] == "current"


async def test_a_saved_baseline_is_taken_up_again(learning: Diagnoser, tiny: SimpleNamespace) -> None:
    await learn(learning, tiny)
    saved = learning.baseline()
    assert saved
    before = await learning.diagnose(tiny.window(seq=30))
    learning.relearn()
    assert learning.baseline() is None
    assert (await learning.diagnose(tiny.window(seq=31))).status == "unknown"
    learning.restore_baseline(saved)
    assert (await learning.diagnose(tiny.window(seq=32))).score == before.score


@pytest.mark.parametrize("saved", [[[1.0, 2.0]], [[1, 2, 3], [1, 0, 1]], [[1, 2, float("nan")], [1, 1, 1]]])
async def test_a_saved_baseline_that_does_not_fit_is_refused(saved: Any, learning: Diagnoser) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        learning.restore_baseline(saved)


async def test_bad_rows_are_not_learnt(learning: Diagnoser, tiny: SimpleNamespace) -> None:
    quality = np.zeros((3, 8), np.uint16)
    quality[1, :5] = Quality.STALE
    found = await learning.diagnose(replace(tiny.window(), quality=quality))
    assert found.why == "learning baseline 3/12"


# ---------------------------------------------------------------- the same, byte for byte


async def test_worker_and_in_process_diagnose_the_same(folder: Path, tiny: SimpleNamespace, in_process: InProcessRuntime) -> None:
    worker = WorkerRuntime(tiny.read)
    try:
        found = []
        for runtime in (worker, in_process):
            await runtime.load(folder)
            made = diagnoser(tiny, folder, runtime)
            found.append([repr(await made.diagnose(tiny.window(v, seq=i))) for i, v in enumerate(tiny.windows(20, spread=2.0))])
    finally:
        await worker.close()
    assert found[0] == found[1]
