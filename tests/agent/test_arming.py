"""From observing to a write and back, in a whole agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import LinkState, Mode

pytestmark = pytest.mark.anyio


async def test_a_loop_observes_after_the_start_and_writes_nothing(rig: Any) -> None:
    async with rig.running() as run:
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].runner.counts.refusals >= 2, "the gate says no")
        assert run["p1"].modes.mode is Mode.OBSERVE
        assert await run.reads("trim") == 0.0
    assert not rig.records("intent")


async def test_an_armed_loop_writes_with_its_intent_on_record_before_and_a_confirmed_outcome_after(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        assert await run.reads("trim") == -20.0
    intents, outcomes = rig.records("intent", "p1"), [r for r in rig.records("outcome", "p1") if r.payload["status"] == "confirmed"]
    assert intents[0].payload["value"] == -20.0
    assert outcomes[0].payload["intent"] == intents[0].seq < outcomes[0].seq


async def test_an_interlock_that_is_not_known_refuses_the_arming_with_its_reason(rig: Any) -> None:
    rig.said["connectors"]["far"] = {"type": "replay", "file": "there-is-none.csv"}
    rig.said["tags"]["remote"] = {"from": "far", "column": "remote", "type": "bool"}
    rig.said["loops"]["p1"]["execute"]["trim"]["interlocks"].append("remote")
    async with rig.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        with pytest.raises(EdgeAgentError, match=r"p1 is not armed, it stays in observe:\n  trim: interlocks: remote is not known"):
            await run.arm()
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_an_interlock_that_is_false_refuses_the_arming(rig: Any) -> None:
    async with rig.running() as run:
        await run.set("broken", 1.0)
        await run.until(lambda: run.agent.perceiver.intake.tags["running"].value is False, "it stands")
        with pytest.raises(EdgeAgentError, match="running is not true"):
            await run.arm()


async def test_tier_0_cannot_be_armed(rig: Any) -> None:
    rig.said["loops"]["p1"] |= {"tier": 0, "mode": "advise"}
    async with rig.running() as run:
        with pytest.raises(EdgeAgentError, match="the configuration allows advise at most"):
            await run.arm()


async def test_arming_needs_a_name_a_reason_and_an_end(rig: Any) -> None:
    async with rig.running() as run:
        for wrong in ({"by": ""}, {"reason": " "}, {"for": "0 s"}, {"for": "5 years"}, {"for": "a while"}, {"loop": "p9"}):
            with pytest.raises(EdgeAgentError):
                await run.arm(**wrong)
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_too_little_room_on_the_disk_refuses_the_arming(rig: Any) -> None:
    rig.said["ledger"]["min_free"] = "1000000 GB"
    async with rig.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        with pytest.raises(EdgeAgentError, match=r"trim: self: \d+\.0 bytes of disk are free, 10{15}\.0 are needed"):
            await run.arm()


class Set(SystemClock):
    """The machine's clock, which somebody sets."""

    ahead_ns = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead_ns


async def test_a_clock_that_was_set_keeps_a_loop_from_writing_for_a_while_and_is_on_record(rig: Any) -> None:
    clock = Set()
    async with rig.running(clock=clock) as run:
        await run.armed()
        clock.ahead_ns = 5_000_000_000
        await run.until(lambda: run.agent.vitals.clock_stepped, "it is noticed")
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].runner.counts.refusals > 2, "the gate says no")
        assert (await run.reads("trim"), run.agent.page()["machine"]["clock_steps"]) == (0.0, 1)
        assert run["p1"].runner.counts.last.window.fit  # the time axis of the windows is another one
    assert "clock stepped" in [r.payload["event"] for r in rig.records("agent")]
    refused = [r.payload["why"] for r in rig.records("outcome", "p1")]
    assert any("self: the clock was set" in why for why in refused)


async def test_an_arming_runs_out_and_the_trim_goes_back(rig: Any) -> None:
    async with rig.running() as run:
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        await run.arm(**{"for": "1.2 s"})
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        await run.mode("p1", Mode.OBSERVE)
        assert await run.reads("trim") == 0.0


async def test_a_disarmed_loop_takes_its_trim_back_and_observes(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        assert (await run.ops.disarm({"loop": "p1", "by": "ann"}))["mode"] == "shed"
        await run.mode("p1", Mode.OBSERVE)
        assert await run.reads("trim") == 0.0
    assert [r.payload["to"] for r in rig.records("mode", "p1")] == ["armed", "shed", "observe"]


async def test_stop_ends_all_writing_at_once_and_leaves_the_trim_to_the_plc(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        async with run["p1"].runner.between_turns():  # even while a turn is under way
            assert (await run.ops.stop({"by": "ann"}))["loops"] == {"p1": "observe"}
        written = len(rig.records("intent"))
        await run.turns("p1", 5)
        assert await run.reads("trim") == -20.0
        assert len(rig.records("intent")) == written


async def test_a_stop_while_the_devices_are_asked_wins_over_the_arming(rig: Any) -> None:
    async with rig.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        plant, asked, answer = run.agent.connectors["plant"], asyncio.Event(), asyncio.Event()
        describe = plant.describe

        async def slow(tag: str) -> Any:
            asked.set()
            await answer.wait()
            return await describe(tag)

        plant.describe = slow
        arming = asyncio.ensure_future(run.arm())
        await asked.wait()
        await run.ops.stop({"by": "ann"})
        answer.set()
        with pytest.raises(EdgeAgentError, match="somebody said stop while the devices were asked"):
            await arming
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_the_stop_file_ends_all_writing_and_arming_is_refused_while_it_is_there(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        (rig.state / "stop").touch()
        await run.mode("p1", Mode.OBSERVE)
        with pytest.raises(EdgeAgentError, match=r"the stop file .*stop is there; remove it"):
            await run.arm()
        (rig.state / "stop").unlink()
        await run.turns("p1", 5)
        assert run["p1"].modes.mode is Mode.OBSERVE
        await run.arm()


async def test_when_the_agent_stops_it_takes_its_trim_back_first(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        await run.set("fault", 5.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        plant = run.agent.connectors["plant"]
    assert (await plant.read("trim")).value == 0.0
    assert rig.records("outcome", "p1")[-1].payload["status"] == "confirmed"


async def test_a_loop_that_is_about_to_end_is_not_armed_any_more(rig: Any) -> None:
    async with rig.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        run["p1"].runner.end("a test")
        with pytest.raises(EdgeAgentError, match="ends just now"):
            await run.arm()


async def test_a_link_that_came_back_has_the_tag_described_anew_while_armed(rig: Any) -> None:
    async with rig.running() as run:
        await run.armed()
        plant, asked = run.agent.connectors["plant"], []
        describe = plant.describe

        async def counted(tag: str) -> Any:
            asked.append(tag)
            return await describe(tag)

        plant.describe = counted
        for state in ("down", "up"):
            run.agent.inbox.link(LinkState(connector="plant", state=state, reason="", mono_ns=run.agent.clock.mono_ns()))  # type: ignore[arg-type]
        await run.until(lambda: asked == ["trim"], "it is asked again")
