"""What does a loop do by itself after a restart, and what does it leave to a person?"""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeAgentError
from edge_agent.memory import Memories
from edge_agent.messages import Mode

pytestmark = pytest.mark.anyio


async def test_a_loop_that_was_armed_arms_itself_again_where_the_configuration_says_so(auto: Any) -> None:
    async with auto.running() as run:
        assert run["p1"].modes.mode is Mode.OBSERVE
        await run.mode("p1", Mode.ARMED)
        assert 3500 < run["p1"].executor.status()["armed_for_s"] < 3600
    said = [(r.payload["event"], r.payload["by"], r.payload["to"]) for r in auto.records("mode", "p1")]
    assert said[3] == ("rearm", "agent", "armed")


@pytest.mark.parametrize("no", ["disarm", "stop", "stop file", "other rule", "other model", "manual"])
async def test_it_observes_after(auto: Any, no: str) -> None:
    if no in ("disarm", "stop", "stop file"):
        (auto.state / "stop").touch()
        async with auto.running() as run:
            if no == "disarm":
                await run.ops.disarm({"loop": "p1", "by": "ann"})
            elif no == "stop":
                await run.ops.stop({"by": "ann"})
            else:
                await run.turns("p1", 1)
        (auto.state / "stop").unlink()
    elif no == "other rule":
        auto.said["loops"]["p1"]["decide"]["actions"]["relief"]["trim"]["trim"] = -50
    elif no == "other model":
        auto.bundle("tiny", version="1.1.0")
    else:
        auto.said["loops"]["p1"]["rearm"] = "manual"
    async with auto.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows > 6, "good windows")
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_a_persons_no_is_on_disk_before_the_answer(auto: Any) -> None:
    for ask in ("disarm", "stop"):
        async with auto.running() as run:
            await run.armed()
            await run.until(lambda: saved(auto).armed_until_ns is not None, "saved")
            await getattr(run.ops, ask)({"loop": "p1", "by": "ann"})
            assert saved(auto).armed_until_ns is None


async def test_a_shorter_arming_replaces_the_longer_one(auto: Any) -> None:
    async with auto.running() as run:
        await run.mode("p1", Mode.ARMED)
        await run.arm(**{"for": "5 min"})
        await run.turns("p1")
        left_s = ((saved(auto).armed_until_ns or 0) - run.agent.clock.wall_ns()) / 1e9
        assert 290 < left_s < 301


async def test_another_loops_new_rule_does_not_keep_it_from_arming_again(auto: Any) -> None:
    auto.add_loop("p2")
    async with auto.running() as run:
        await run.mode("p1", Mode.ARMED)


async def test_a_lockout_outlives_a_restart_until_a_person_resets_it(auto: Any) -> None:
    async with auto.running() as run:
        await run["p1"].executor.change("rival", reason="another writer on trim")
        await run.turns("p1")
    async with auto.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows > 6, "good windows")
        assert (run["p1"].modes.mode, run["p1"].modes.reason) == (Mode.LOCKOUT, "another writer on trim")
        with pytest.raises(EdgeAgentError, match="locked out"):
            await run.arm()
        await run.ops.reset({"loop": "p1", "by": "ann", "reason": "it was me"})
    async with auto.running() as run:
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_an_older_model_than_the_one_that_was_armed_is_not_armed(auto: Any) -> None:
    auto.bundle("tiny", version="0.9.0")
    async with auto.running() as run:
        await run.until(lambda: run["p1"].executor.good_windows >= 3, "good windows")
        with pytest.raises(EdgeAgentError, match=r"model: version \(0, 9, 0\) is older than \(1, 0, 0\)"):
            await run.arm()


async def test_what_was_learnt_is_kept_and_what_is_to_be_learnt_anew_is_not(rig: Any) -> None:
    rig.bundle("tiny", baseline={"rows": 6, "floor": [1.0, 1.0]})
    async with rig.running() as run:
        await run.until(lambda: saved(rig).baseline is not None, "learnt and saved")
        learnt = saved(rig).baseline
    async with rig.running() as run:
        assert run["p1"].diagnoser.baseline() == learnt
        await run.ops.relearn({"loop": "p1", "by": "ann"})
        assert saved(rig).baseline is None
    assert [r.payload["event"] for r in rig.records("operator", "p1")] == ["relearn"]


class Wrong(SystemClock):
    """The machine's clock, set back by an hour."""

    def wall_ns(self) -> int:
        return super().wall_ns() - 3_600_000_000_000


async def test_a_clock_that_stands_before_the_arming_makes_it_no_longer(auto: Any) -> None:
    async with auto.running(clock=Wrong()) as run:
        await run.until(lambda: run["p1"].executor.good_windows > 6, "good windows")
        assert run["p1"].modes.mode is Mode.OBSERVE


async def test_a_damaged_memory_is_an_empty_one(rig: Any) -> None:
    (rig.state / "loops").mkdir(parents=True)
    (rig.state / "loops" / "p1.json").write_text('{"armed_until_ns": "tomorrow"}')
    async with rig.running() as run:
        await run.turns("p1")
        assert run["p1"].runner.counts.errors == 0


def saved(rig: Any) -> Any:
    return Memories(rig.state / "loops").load("p1")
