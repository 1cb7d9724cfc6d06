"""Which model serves a loop when the one that is asked for is missing, refused, or one of several?"""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from edge_agent import metrics
from edge_agent.cli.status import text
from edge_agent.offline import prepare
from edge_agent.recording import read

pytestmark = pytest.mark.anyio


async def test_another_model_stands_in_for_a_missing_one_and_may_act(rig: Any) -> None:
    rig.said["loops"]["p1"]["diagnose"] = {"model": "missing", "fallback": [{"model": "tiny"}]}
    del rig.said["loops"]["p1"]["mode"]  # an armed loop without its model is an error of the configuration
    rig.said["loops"]["p1"]["mode"] = "advise"
    async with rig.running() as run:
        await run.turns("p1")
        said = run.agent.page()["loops"]["p1"]
        page = text(run.agent.page())
        prometheus = metrics.text(run.agent.page())
    assert said["model"] == "tiny@1.0.0"
    assert said["diagnose"]["fallback"] is True
    assert "no bundle at" in said["diagnose"]["refused"][0]
    assert "FALL-BACK" in page
    assert 'edge_agent_loop_fallback{loop="p1"} 1.0' in prometheus
    admitted = next(r.payload for r in rig.records("model", "p1"))
    assert admitted["fallback"] is True
    assert "no bundle at" in admitted["refused"][0]


async def test_a_rule_stands_in_and_decides_but_never_writes(rig: Any) -> None:
    shutil.rmtree(rig.folder / "models" / "tiny")
    rig.bundle("tiny", sign_it=False)  # refused: nobody trusted has signed it
    rig.said["loops"]["p1"]["diagnose"] = {"model": "tiny", "fallback": [{"rule": "flow > 14"}]}
    async with rig.running() as run:
        await run.turns("p1")
        await run.set("fault", 8.0)
        await run.until(lambda: run["p1"].runner.counts.last.decision.state == "relief", "the rule is heard")
        turn = run["p1"].runner.counts.last
        assert turn.diagnosis.model == "rule"
        assert turn.diagnosis.score == 1.0
        assert "flow 18 > 14" in turn.diagnosis.why
        await run.turns("p1", 5)
        assert run["p1"].runner.counts.writes == 0
    assert not rig.records("intent")


async def test_the_loop_takes_its_own_model_as_soon_as_it_is_there(rig: Any) -> None:
    (rig.folder / "models" / "tiny").rename(rig.folder / "models" / "away")
    rig.said["loops"]["p1"] |= {"mode": "advise", "diagnose": {"model": "tiny", "fallback": [{"rule": "flow > 14"}]}}
    async with rig.running() as run:
        await run.turns("p1")
        assert (await run.agent.apply(rig.configuration())).empty, "nothing has changed"
        (rig.folder / "models" / "away").rename(rig.folder / "models" / "tiny")
        assert (await run.agent.apply(rig.configuration())).start_loops == {"p1"}
        await run.turns("p1")
        assert run["p1"].diagnoser.model == "tiny@1.0.0"


async def test_nothing_serves_and_every_reason_is_told(rig: Any) -> None:
    rig.said["loops"]["p1"] |= {"mode": "advise", "diagnose": {"model": "missing", "fallback": [{"model": "missing/too"}]}}
    rig.add_loop("p2")
    async with rig.running() as run:
        await run.turns("p2")
        why = run.agent.refused["p1"]
    assert why.count("no bundle at") == 2


async def test_three_models_vote_and_their_votes_are_on_record(rig: Any) -> None:
    rig.bundle("slow", calibration={"raw": [0.0, 1000.0], "score": [0.0, 1.0]})
    rig.bundle("quick", calibration={"raw": [0.0, 1.0], "score": [0.0, 1.0]})
    rig.said["loops"]["p1"]["diagnose"] = {"model": "tiny", "also": [{"model": "slow"}, {"model": "quick"}]}
    async with rig.running(record=rig.folder / "r.rec") as run:
        await run.armed()
        await run.set("fault", 8.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "two of three see it, and may act")
        assert run.agent.page()["loops"]["p1"]["diagnose"]["members"].keys() == {"tiny@1.0.0", "slow@1.0.0", "quick@1.0.0"}
    decided = [r.payload["diagnosis"] for r in rig.records("decision", "p1")]
    assert [ballot[0] for ballot in decided[-1]["votes"]] == ["tiny@1.0.0", "slow@1.0.0", "quick@1.0.0"]
    frames = read(rig.folder / "r.rec")
    replay, close = await prepare(rig.configuration(), next(frames)[1], exact=True)
    turns = [turn async for turn in replay.run(frames)]
    await close()
    assert len(turns) > 5
    assert all(turn.same for turn in turns), "a replay says the same, to the byte"


async def test_a_panel_goes_on_without_a_refused_member_while_the_quorum_holds(rig: Any) -> None:
    rig.said["loops"]["p1"] |= {"diagnose": {"model": "tiny", "also": [{"model": "away"}, {"model": "tiny"}]}}
    async with rig.running() as run:
        await run.turns("p1")
        assert len(run["p1"].chosen.bundles) == 2
        assert run["p1"].chosen.fallback is False
        assert "no bundle at" in run["p1"].chosen.refused[0]
