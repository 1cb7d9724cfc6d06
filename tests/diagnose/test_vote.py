"""What do several models say together?"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_agent.config.model import Diagnose
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.panel import Panel
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.diagnose.vote import combine
from edge_agent.messages import Diagnosis


def said(score: float | None, status: Any = "ok", model: str = "m", **more: Any) -> Diagnosis:
    return Diagnosis(loop="p1", window=1, end_ns=1, status=status, score=score, model=model, **more)


def together(each: Sequence[Diagnosis], vote: Any = "median", quorum: int = 2) -> Diagnosis:
    return combine(each, vote=vote, quorum=quorum, model="three", model_hash="h")


@pytest.mark.parametrize(("vote", "score"), [("median", 0.4), ("mean", 0.5), ("highest", 0.9), ("lowest", 0.2)])
def test_scores_become_one_as_configured(vote: str, score: float) -> None:
    assert together([said(0.2), said(0.4), said(0.9)], vote).score == pytest.approx(score)


def test_who_has_no_evidence_has_no_vote_but_is_on_record() -> None:
    found = together([said(0.2, model="a"), said(None, "novel", "b", why="far out", novelty=1.0), said(0.4, model="c", novelty=0.3)])
    assert (found.status, found.score, found.novelty) == ("ok", pytest.approx(0.3), 0.3)
    assert [(b.model, b.status) for b in found.votes] == [("a", "ok"), ("b", "novel"), ("c", "ok")]
    assert found.model == "three"


def test_below_the_quorum_there_is_no_evidence_and_it_is_said_who_lacks_it() -> None:
    found = together([said(0.2, model="a"), said(None, "late", "b", why="after 1 s"), said(None, "late", "c", why="after 1 s")])
    assert (found.status, found.score) == ("late", None)
    assert "1 of the 2 models" in found.why
    assert "b: late, after 1 s" in found.why


def test_probabilities_are_averaged_where_all_know_the_same_labels() -> None:
    a = said(0.6, label="leak", probabilities={"normal": 0.4, "leak": 0.6})
    b = said(0.1, label="normal", probabilities={"normal": 0.9, "leak": 0.1})
    found = together([a, b])
    assert (found.label, found.probabilities["normal"]) == ("normal", pytest.approx(0.65))


def test_of_two_labels_with_as_many_votes_the_surer_one_counts() -> None:
    assert together([said(1, label="x", confidence=0.6), said(1, label="y", confidence=0.9)]).label == "y"
    assert (
        together([said(1, label="x", confidence=0.6), said(1, label="x", confidence=0.6), said(1, label="y", confidence=0.9)]).label == "x"
    )


def test_blame_is_shared_among_those_who_name_any() -> None:
    found = together([said(1, contributions=(("flow", 0.9), ("level", 0.1))), said(1, contributions=(("level", 1.0),)), said(1)])
    assert found.contributions == (("level", pytest.approx(0.55)), ("flow", pytest.approx(0.45)))


def test_intervals_are_voted_on_too() -> None:
    found = together([said(5, lower=4.0, upper=6.0), said(6, lower=5.0, upper=8.0), said(7, lower=5.5, upper=9.0)])
    assert (found.lower, found.upper) == (5.0, 8.0)


async def a_panel(tiny: SimpleNamespace, folders: Sequence[Any], runtime: InProcessRuntime) -> Panel:
    made = []
    for folder in folders:
        await runtime.load(folder)
        bundle = tiny.read(folder)
        made.append(Diagnoser("p1", bundle, bundle.head(), runtime, Diagnose(model="tiny"), tags=tiny.TAGS, scale={}))
    return Panel(made, vote="median", quorum=2)


@pytest.mark.anyio
async def test_a_panel_votes_on_each_window(tiny: SimpleNamespace, tmp_path: Any, in_process: InProcessRuntime) -> None:
    folders = [tiny.write(tmp_path / f"m{i}", calibration={"raw": [0.0, 10.0 * (i + 1)], "score": [0.0, 1.0]}) for i in range(3)]
    made = await a_panel(tiny, folders, in_process)
    found = await made.diagnose(tiny.window(tiny.windows(1)[0] + 2))
    assert found.score == sorted(b.score for b in found.votes)[1]
    assert found.model == "median of tiny@1.0.0, tiny@1.0.0, tiny@1.0.0"


@pytest.mark.anyio
async def test_a_replay_says_again_who_was_late_and_asks_the_others(
    tiny: SimpleNamespace, folder: Any, in_process: InProcessRuntime
) -> None:
    live, past = await a_panel(tiny, [folder] * 3, in_process), await a_panel(tiny, [folder] * 3, in_process)
    for seq in range(1, 20):
        window = tiny.window(tiny.windows(1, seed=seq)[0], seq=seq)
        seen = await live.again(window, [None, ("late", "after 1 s"), None])
        assert seen == await past.again(window, [None, ("late", "after 1 s"), None])
    assert seen.status == "ok"
    assert seen.votes[1][1:] == ("late", None, "after 1 s")


@pytest.mark.anyio
async def test_baselines_of_all_members_survive_together(tiny: SimpleNamespace, tmp_path: Any, in_process: InProcessRuntime) -> None:
    floor = [0.01] * tiny.CHANNELS
    plain = tiny.write(tmp_path / "plain")
    nodes = [
        tiny.node(
            "ReduceMean",
            ["baseline", "both"],
            [
                "zero_",
            ],
            keepdims=0,
        ),
        tiny.node("Identity", ["zero_"], ["unused"]),
    ]
    learning = tiny.write(
        tmp_path / "learning",
        tiny.model(
            nodes,
            [tiny.tensor("both", [1, 2], np.int64)],
            inputs=[tiny.value("window", ["N", tiny.CHANNELS, tiny.ROWS]), tiny.value("baseline", ["N", 2, tiny.CHANNELS])],
        ),
        {"window": tiny.windows(), "baseline": np.ones((4, 2, tiny.CHANNELS), np.float32)},
        graph={"baseline": "baseline", "outputs": {"score": "score", "contributions": "contributions"}},
        baseline={"rows": 16, "floor": floor},
    )
    made = await a_panel(tiny, [plain, learning, learning], in_process)
    assert made.baseline() is None
    for seq in range(tiny.ROWS, 60, tiny.ROWS):
        await made.diagnose(tiny.window(tiny.windows(1, seed=seq)[0], seq=seq))
    saved = made.baseline()
    assert saved is not None
    assert len(saved) == 4
    again = await a_panel(tiny, [plain, learning, learning], in_process)
    again.restore_baseline(saved)
    assert again.baseline() == saved
    with pytest.raises(ValueError, match="holds 2 rows, not 4"):
        again.restore_baseline(saved[:2])
    again.relearn()
    assert again.baseline() is None
