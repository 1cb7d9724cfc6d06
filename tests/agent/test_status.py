"""What the agent says of itself: every bound, every counter, as JSON and for Prometheus."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_agent import control, metrics, places
from edge_agent.cli.status import text
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Mode, Sample
from edge_agent.metrics import METRICS

pytestmark = pytest.mark.anyio

_ABSENT = {"loop_novelty", *(f"loop_drift_{n}" for n in ("score_psi", "novelty_ks", "shift"))}  # this model has no envelope, no histogram


async def test_the_status_holds_every_bound_and_counter_and_is_strict_json(rig: Any) -> None:
    rig.add_loop("p2", diagnose={"model": "nowhere"})
    async with rig.running(record=rig.folder / "r.rec") as run:
        await run.turns("p1")
        page = json.loads(json.dumps(run.agent.page(), allow_nan=False))
    assert {"waiting", "bound", "dropped", "not_recorded"} <= page["inbox"].keys()
    assert {"waiting", "bound", "dropped", "unfit", "turns", "errors", "writes", "refusals", "window"} <= page["loops"]["p1"].keys()
    assert {"waiting", "max_waiting", "refused", "bytes", "max_bytes", "lost", "failures", "healthy"} <= page["ledger"].keys()
    assert {"up", "link", "reason"} <= page["connectors"]["plant"].keys()
    assert {"samples", "unfit", "duplicates", "out_of_order", "age_s", "quality"} <= page["tags"]["flow"].keys()
    assert set(page["parts"]) == {"control socket", "pump", "feedback", "connector plant", "loop p1"}
    assert page["recording"]["frames"] > 0
    assert "no bundle at" in page["refused"]["p2"]
    assert page["tags"]["running"]["value"] is True


async def test_a_person_can_read_it_from_the_first_moment(rig: Any) -> None:
    rig.add_loop("p2", diagnose={"model": "nowhere"})
    async with rig.running() as run:
        assert "nothing yet" in text(run.agent.page())
        await run.armed()
        await run.turns("p1")
        said = text(run.agent.page())
    assert "loop p1: armed until" in said
    assert "loop p2: DOES NOT RUN: " in said
    assert "None" not in said


async def test_every_metric_that_has_a_value_is_there_and_prometheus_can_read_it(rig: Any) -> None:
    rig.add_loop("p2", diagnose={"model": "nowhere"})
    async with rig.running(record=rig.folder / "r.rec", worker=True) as run:
        await run.armed()
        await run.turns("p1")
        page = metrics.text(run.agent.page())
    families = {family.name: family for family in text_string_to_metric_families(page)}
    expected = {name for name, *_ in METRICS} - _ABSENT
    assert {name for name in expected if not families[f"edge_agent_{name}"].samples} == set()
    assert families["edge_agent_loop_armed"].samples[0].value == 1.0
    assert families["edge_agent_loop_refused"].samples[0].labels == {"loop": "p2"}
    assert families["edge_agent_link_up"].samples[0].value == 1.0
    kinds = {"counter": "counter", "gauge": "gauge"}
    assert not [name for name, kind, *_ in METRICS if families[f"edge_agent_{name}"].type != kinds[kind]]


async def test_values_that_no_json_knows_do_not_spoil_the_status(rig: Any) -> None:
    async with rig.running() as run:
        now_ns, mono_ns = run.agent.clock.wall_ns(), run.agent.clock.mono_ns()
        for value in (float("nan"), float("inf"), None):
            run.agent.inbox.samples([Sample("level", value, 0, now_ns, now_ns, mono_ns)])
        await run.turns("p1")
        json.dumps(run.agent.page(), allow_nan=False)


async def test_people_ask_over_the_socket(rig: Any) -> None:
    async with rig.running() as run:
        path = places.socket(run.agent.configuration.file.agent)
        assert path.stat().st_mode & 0o777 == 0o660
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        ask: dict[str, Any] = {"do": "arm", "loop": "p1", "by": "ann", "reason": "test", "for": "5 min"}
        assert (await asyncio.to_thread(control.ask, path, ask))["mode"] == "armed"
        assert (await asyncio.to_thread(control.ask, path, {"do": "stop", "by": "ann"}))["loops"] == {"p1": "observe"}
        with pytest.raises(EdgeAgentError, match="no loop is called 'p9'; there are: p1"):
            await asyncio.to_thread(control.ask, path, ask | {"loop": "p9"})
        with pytest.raises(EdgeAgentError, match="`by` is missing"):
            await asyncio.to_thread(control.ask, path, {"do": "stop"})
        with pytest.raises(EdgeAgentError, match="not a request"):
            await asyncio.to_thread(control.ask, path, {"do": "fly"})
    assert not path.exists()


async def test_an_approval_is_for_what_waits_and_for_nothing_else(rig: Any) -> None:
    rig.bundle("tiny", intended={"use": "tests", "tier": 2})
    rig.said["loops"]["p1"]["tier"] = 2
    async with rig.running() as run:
        await run.armed()
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.status()["tags"]["trim"]["waits_for_approval"] == -20.0, "it waits")
        approve = {"loop": "p1", "tag": "trim", "by": "ann"}
        for wrong in ({"value": -30.0}, {"tag": "level", "value": -20.0}, {}):
            with pytest.raises(EdgeAgentError, match="does not wait for approval"):
                await run.ops.approve(approve | wrong)
        await run.ops.approve(approve | {"value": -20.0})
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
    assert [r.payload["value"] for r in rig.records("operator", "p1")] == [-20.0]


async def test_a_loop_that_acts_is_not_told_to_learn_anew(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        with pytest.raises(EdgeAgentError, match="disarm it before it learns"):
            await run.ops.relearn({"loop": "p1", "by": "ann"})
        assert run["p1"].modes.mode is Mode.ARMED


def test_no_descriptor_is_left_open(rig: Any) -> None:
    async def once() -> None:
        async with rig.running(worker=True) as run:
            await run.turns("p1", 1)

    asyncio.run(once())
    before = set(Path("/proc/self/fd").iterdir())
    asyncio.run(once())
    assert not set(Path("/proc/self/fd").iterdir()) - before
