"""The agent is killed and away for a while: what the server kept for it is fetched, once; what it could not keep is a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_agent import control
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Reader
from tests.integration.conftest import NodePlant

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

STEP_NS = 50_000_000  # the plant's Counter: node_plant in conftest.py
torture = [pytest.mark.torture, pytest.mark.timeout(1200)]

CONFIG = """\
version: 1
agent: {{name: a1, owner: acme, state: {state}}}
ledger: {{min_free: 1 MB}}
connectors: {{plc: {{type: opcua, url: "{url}", outage: {outage} s, session_timeout: 60 s, publish: 100 ms, sampling: 0 s}}}}
tags:
  counter: {{from: plc, node: "nsu=urn:plant;s=Counter", record: true}}
  still: {{from: plc, node: "nsu=urn:plant;s=Still", record: true}}
loops: {{}}
"""


class Crashing:
    """An agent without loops that records two tags."""

    def __init__(self, folder: Path, url: str, outage_s: float) -> None:
        self.folder, self.state = folder, folder / "state"
        self.config = folder / "a1.yaml"
        self.config.write_text(CONFIG.format(state=self.state, url=url, outage=outage_s))

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "edge_agent", "run", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ.copy())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def link(self) -> dict[str, Any]:
        try:
            page = control.ask(self.state / "control.sock", {"do": "status"}, 5.0)
        except EdgeAgentError:
            return {}
        return dict(page.get("connectors", {}).get("plc", {}))

    def until(self, what: str, holds: Callable[[], Any], within_s: float = 40.0) -> None:
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, f"{what}: {self.link()} {(self.folder / 'log').read_text()[-2000:]}"
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def delivered(self) -> int:
        return int(self.link().get("counts", {}).get("samples", 0))

    def records(self, kind: str) -> list[dict[str, Any]]:
        with Reader(self.state / "ledger") as reader:
            return [dict(record.payload) for record in reversed(reader.newest(1_000_000, kind))]

    def live(self, samples: int) -> None:
        self.until("the link", lambda: self.link().get("link") == "up")
        before = self.delivered()
        self.until("new values", lambda: self.delivered() >= before + samples)


@pytest.fixture
def crash(tmp_path: Path, node_plant: NodePlant) -> Any:
    made: list[Crashing] = []

    def run(outage_s: float, away_s: list[float]) -> tuple[Crashing, list[dict[str, Any]]]:
        agent = Crashing(tmp_path, node_plant.url, outage_s)
        made.append(agent)
        agent.start()
        agent.live(60)
        links = []
        for seconds in away_s:
            agent.kill()
            time.sleep(seconds)
            agent.start()
            agent.live(60)
            links.append(agent.link())
        agent.stop()
        return agent, links

    yield run
    for agent in made:
        agent.stop()


def judge(agent: Crashing) -> tuple[int, int, int, int]:
    """Counter values recorded, missing, twice, and missing without a gap that covers them."""
    values = [s for s in agent.records("sample") if s["tag"] == "counter"]
    assert [s["value"] for s in values] == sorted(s["value"] for s in values), "in order"
    gaps = [g for g in agent.records("gap") if g["connector"] == "plc" and g["tag"] in (None, "counter")]
    missing = bare = 0
    for a, b in pairwise(values):
        lost = max(0, b["value"] - a["value"] - 1)
        moments = [a["source_ns"] + (b["source_ns"] - a["source_ns"]) * k // (lost + 1) for k in range(1, lost + 1)]
        missing += lost
        bare += sum(not any(g["start_ns"] - STEP_NS <= t <= g["end_ns"] + STEP_NS for g in gaps) for t in moments)
    return len(values), missing, len(values) - len({s["value"] for s in values}), bare


@pytest.mark.parametrize("away_s", [[3.0], pytest.param([12.0, 40.0, 12.0, 40.0, 1.0, 0.0], marks=torture)])
def test_the_old_subscription_is_taken_up_again(crash: Any, figure: Callable[..., None], away_s: list[float]) -> None:
    agent, links = crash(60, away_s)
    recorded, missing, twice, _ = judge(agent)
    assert [link["counts"]["adopted"] for link in links] == [1] * len(away_s), links
    assert ["subscriptions" in link["counts"] for link in links] == [False] * len(away_s)
    assert recorded > sum(away_s) / 0.05
    assert (missing, twice) == (0, 0)
    assert agent.records("gap") == []
    still = [s for s in agent.records("sample") if s["tag"] == "still"]
    assert len(still) == 1, "an unchanged value is told again, and recorded once"
    figure("own crash, OPC UA", away=" ".join(f"{s:g} s" for s in away_s), values=recorded, lost=missing, twice=twice)


@pytest.mark.parametrize("away_s", [[4.0], pytest.param([12.0, 40.0], marks=torture)])
def test_beyond_the_queue_there_is_a_declared_gap(crash: Any, figure: Callable[..., None], away_s: list[float]) -> None:
    agent, links = crash(0.5, away_s)
    assert links[-1]["queue_max"] < min(away_s) / 0.05
    recorded, missing, twice, bare = judge(agent)
    assert missing > 0, "the fault does not bite: the queue held everything"
    assert (twice, bare) == (0, 0), agent.records("gap")
    figure("own crash, beyond the queue", away=" ".join(f"{s:g} s" for s in away_s), values=recorded, lost=missing, undeclared=bare)


def test_without_its_memory_the_time_away_is_lost(crash: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: it shows that the plant goes on counting, and that only the memory makes up for it."""
    start = Crashing.start

    def forgetful(agent: Crashing) -> None:
        for file in (agent.state / "connectors" / "plc").glob("*.json"):
            file.unlink()
        start(agent)

    monkeypatch.setattr(Crashing, "start", forgetful)
    agent, _ = crash(60, [3.0])
    _, missing, _, bare = judge(agent)
    assert missing >= 40
    assert bare == missing


def test_a_memory_cut_short_by_a_power_cut_costs_a_new_subscription_only(crash: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Crashing.start

    def torn(agent: Crashing) -> None:
        for file in (agent.state / "connectors" / "plc").glob("*.json"):
            file.write_bytes(file.read_bytes()[:40])
        start(agent)

    monkeypatch.setattr(Crashing, "start", torn)
    _, links = crash(60, [1.0])
    assert links[-1]["counts"]["subscriptions"] == 1
