"""A connector that breaks its promise and crashes: noticed, counted, started again; its values are no evidence meanwhile."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from edge_agent import metrics
from edge_agent.messages import Mode, Quality

pytestmark = pytest.mark.anyio

PLUGIN = '''
"""A stranger's connector that crashes when it is told to, or ends."""

import asyncio
from typing import Literal

from edge_agent.config.model import Tag as BaseTag
from edge_agent.config.types import Model
from edge_agent.messages import LinkState, Sample


class Config(Model):
    type: Literal["flaky"]


class Tag(BaseTag):
    pass


class Connector:
    def __init__(self, config, tags, setup):
        self.tags, self.setup, self.runs, self.told = tags, setup, 0, asyncio.Event()
        self.ends = False

    async def run(self, sink):
        clock, self.runs = self.setup.clock, self.runs + 1
        sink.link(LinkState(connector=self.setup.name, state="up", reason="", mono_ns=clock.mono_ns()))
        while not self.told.is_set():
            wall_ns = clock.wall_ns()
            sink.samples([Sample(tag, 10.0, 0, wall_ns, wall_ns, clock.mono_ns()) for tag in self.tags])
            await asyncio.sleep(0.01)
        self.told.clear()
        if not self.ends:
            raise ZeroDivisionError("a defect of the plug-in")

    def status(self):
        return {"link": "up", "runs": self.runs}
'''


@pytest.fixture
def stranger(rig: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A rig with a plug-in that came through its entry point, beside the plant."""
    info = rig.folder / "plugins" / "flaky-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edge_agent.connector]\nflaky = flaky_of_the_tests\n")
    (info.parent / "flaky_of_the_tests.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(info.parent)
    importlib.invalidate_caches()
    rig.said["connectors"]["odd"] = {"type": "flaky"}
    rig.said["tags"]["heat"] = {"from": "odd"}
    rig.add_loop("p2", perceive={"tags": ["heat", "level"], "every": "20 ms", "window": 4})
    return rig


@pytest.mark.parametrize("ends", [False, True])
async def test_it_is_started_again_and_counted_and_its_link_is_down_meanwhile(stranger: Any, ends: bool) -> None:
    async with stranger.running() as run:
        await run.armed()
        await run.turns("p2")
        odd: Any = run.agent.connectors["odd"]
        odd.ends = ends
        odd.told.set()
        await run.until(lambda: run.agent.perceiver.intake.links["odd"] is False, "the link is down")
        reading = run.agent.perceiver.reading("heat", run.agent.clock.mono_ns())
        assert reading.quality & Quality.LINK
        assert run["p1"].modes.mode is Mode.ARMED  # the others are not concerned
        await run.until(lambda: odd.runs == 2 and run.agent.perceiver.intake.links["odd"], "it runs again")
        part = run.agent.page()["parts"]["connector odd"]
        assert part["crashes"] == 1
        assert ("ended by itself" if ends else "ZeroDivisionError: a defect of the plug-in") in part["last_error"]
        await run.turns("p2")
        text = metrics.text(run.agent.page())
        assert 'edge_agent_part_crashes_total{part="connector odd"} 1.0' in text


async def test_what_a_full_inbox_lost_is_in_the_ledger(rig: Any) -> None:
    async with rig.running() as run:
        await run.turns("p1", 1)
        run.agent.inbox.bound = 0
        await run.until(lambda: run.agent.inbox.dropped > 20, "samples are dropped")
        run.agent.inbox.bound = 1000
        await run.turns("p1", 1)
        dropped = run.agent.inbox.dropped
    gaps = [r.payload for r in rig.records("gap")]
    assert {gap["connector"] for gap in gaps} == {"plant"}
    assert sum(gap["lost"] for gap in gaps) == dropped
    assert all("its inbox was full" in gap["reason"] for gap in gaps)
