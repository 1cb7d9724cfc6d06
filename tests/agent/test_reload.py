"""A new configuration while the agent runs: only what differs is restarted, and a wrong one changes nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from edge_agent import service
from edge_agent.errors import ConfigError
from edge_agent.messages import Mode

pytestmark = pytest.mark.anyio


@pytest.fixture
def two(rig: Any) -> Any:
    rig.add_loop("p2")
    return rig


async def test_a_changed_rule_restarts_its_loop_only(two: Any) -> None:
    async with two.running() as run:
        await run.turns("p1", 5)
        await run.turns("p2", 5)
        other, view, turns = run["p1"], run.agent.perceiver.views["p1"], run["p1"].runner.counts.turns
        plant = run.agent.connectors["plant"]
        two.said["loops"]["p2"]["decide"]["states"]["normal"][0]["when"] = "score > 0.5"
        change = await run.agent.apply(two.configuration())
        assert (change.start_loops, change.start_connectors) == ({"p2"}, frozenset())
        assert run["p1"] is other
        assert run.agent.perceiver.views["p1"] is view
        assert run["p1"].runner.counts.turns >= turns
        assert run["p2"].runner.counts.turns < 5
        assert run.agent.connectors["plant"] is plant
        await run.turns("p1")
        await run.turns("p2")
    assert [r.payload["event"] for r in two.records("config")] == ["loaded", "loaded"]


async def test_an_armed_loop_stays_armed_while_another_comes_and_goes(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        rig.add_loop("p2")
        await run.agent.apply(rig.configuration())
        await run.turns("p2")
        del rig.said["loops"]["p2"]
        await run.agent.apply(rig.configuration())
        assert list(run.agent.loops) == ["p1"]
        assert run["p1"].modes.mode is Mode.ARMED
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "it still writes")


async def test_a_changed_loop_takes_its_trim_back_first_and_observes_then(rig: Any) -> None:
    rig.said["loops"]["p1"]["rearm"] = "auto"
    async with rig.running() as run:
        await run.armed()
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        rig.said["loops"]["p1"]["execute"]["trim"]["limits"] = [-20, 50]
        await run.agent.apply(rig.configuration())
        assert await run.reads("trim") == 0.0
        await run.until(lambda: run["p1"].executor.good_windows > 6, "good windows")
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_a_new_tag_restarts_its_connector_and_the_loops_that_use_it(two: Any) -> None:
    two.said["connectors"]["other"] = {"type": "sim", "every": "10 ms"}
    two.said["tags"] |= {"flow2": {"from": "other", "mean": 10.0}, "level2": {"from": "other", "mean": 2.0}}
    two.said["loops"]["p2"]["perceive"]["tags"] = ["flow2", "level2"]
    async with two.running() as run:
        await run.turns("p2")
        kept, stopped = run["p1"], run["p2"]
        two.said["tags"]["flow2"]["mean"] = 11.0
        change = await run.agent.apply(two.configuration())
        assert (change.stop_connectors, change.stop_loops) == ({"other"}, {"p2"})
        assert run["p1"] is kept
        assert run["p2"] is not stopped
        await run.until(lambda: run.agent.perceiver.intake.tags["flow2"].value == 11.0, "the new value")


@pytest.mark.parametrize(
    ("section", "what"),
    [("agent", {"site": "elsewhere"}), ("ledger", {"max_size": "1 GB"}), ("models", {"unsigned": True})],
)
async def test_a_section_that_needs_a_restart_is_left_alone_with_words(
    rig: Any, caplog: pytest.LogCaptureFixture, section: str, what: dict[str, Any]
) -> None:
    async with rig.running() as run:
        before, loop = run.agent.configuration, run["p1"]
        rig.said[section] |= what
        rig.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "score > 0.5"
        rig.write()
        await hang_up(run)
        assert run.agent.configuration is before
        assert run["p1"] is loop
    assert f"{section}: changed, and that needs a restart; the old configuration goes on" in caplog.text


async def test_a_wrong_configuration_is_told_and_the_old_one_goes_on(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with rig.running() as run:
        before, loop = run.agent.configuration, run["p1"]
        rig.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "scroe > 0.5"
        rig.write()
        await hang_up(run)
        await run.turns("p1")
        assert (run.agent.configuration, run["p1"]) == (before, loop)
    assert "the new configuration is wrong, the old one goes on" in caplog.text
    assert "scroe" in caplog.text


async def test_a_connector_that_cannot_be_built_changes_nothing(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig.running() as run:
        before, loop = run.agent.configuration, run["p1"]
        rig.said["connectors"]["plant"]["seed"] = 7
        new = rig.configuration()

        def refuse(*_: object) -> None:
            raise ConfigError([])

        monkeypatch.setattr("connectors.sim.Connector.__init__", refuse)
        with pytest.raises(ConfigError):
            await run.agent.apply(new)
        assert run.agent.configuration is before
        await run.turns("p1")
        assert run["p1"] is loop


async def test_a_refused_loop_is_tried_again_and_a_new_model_is_taken_up(rig: Any) -> None:
    rig.add_loop("p2", diagnose={"model": "late"})
    rig.add_loop("p3")
    async with rig.running() as run:
        assert list(run.agent.refused) == ["p2"]
        rig.bundle("late")
        await run.agent.apply(rig.configuration())
        assert not run.agent.refused
        kept = run["p3"]
        rig.bundle("late", version="1.0.1")
        await run.agent.apply(rig.configuration())
        assert run["p2"].diagnoser.model == "late@1.0.1"
        assert run["p3"] is kept
        del rig.said["loops"]["p2"]
        await run.agent.apply(rig.configuration())
        assert list(run.agent.loops) == ["p1", "p3"]


async def test_a_loop_that_is_gone_is_no_longer_refused(rig: Any) -> None:
    rig.add_loop("p2", diagnose={"model": "late"})
    async with rig.running() as run:
        del rig.said["loops"]["p2"]
        await run.agent.apply(rig.configuration())
        assert not run.agent.refused


async def test_how_far_records_travel_follows_the_configuration(rig: Any) -> None:
    rig.said["loops"]["p1"]["feedback"] = {"share": "company"}
    async with rig.running() as run:
        await run.turns("p1")
        rig.said["loops"]["p1"]["feedback"]["share"] = "site"
        await run.agent.apply(rig.configuration())
        await run.turns("p1")
    shares = [r.share for r in rig.records("decision", "p1")]
    assert (shares[0], shares[-1], sorted(shares)) == ("company", "site", shares)


async def test_a_wider_skew_reaches_the_checks_of_its_tags(rig: Any) -> None:
    async with rig.running() as run:
        rig.said["loops"]["p1"]["perceive"]["skew"] = "5 s"
        await run.agent.apply(rig.configuration())
        assert run.agent.perceiver.intake.tags["flow"].rules.skew_s == 5.0


async def test_the_end_of_the_agent_waits_for_a_change_that_is_under_way(two: Any) -> None:
    async with two.running() as run:
        two.said["loops"]["p2"]["perceive"]["hop"] = 2
        applying = asyncio.ensure_future(run.agent.apply(two.configuration()))
        await asyncio.sleep(0)
        run.agent.stop()
    assert (await applying).start_loops == {"p2"}


async def hang_up(run: Any) -> None:
    """What SIGHUP does."""
    logging.getLogger("edge_agent").setLevel(logging.INFO)
    await service.reload_once(run.agent)
