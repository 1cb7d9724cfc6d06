"""The agent is killed in mid-action: the plant falls back by itself, and afterwards the loop observes and the ledger is whole."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import control
from edge_agent.demo.stage import Plant, Stage, source
from edge_agent.errors import EdgeAgentError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "demo", source=source(), port=0)
    stage.build()
    yield stage
    stage.stop()


def until(what: str, holds: Callable[[], Any], within_s: float = 40.0) -> Any:
    start = time.monotonic()
    while not (found := holds()):
        assert time.monotonic() - start < within_s, f"waited {within_s} s for {what}"
        time.sleep(0.1)
    return found


def ask(stage: Stage, **request: Any) -> dict[str, Any]:
    try:
        return control.ask(stage.folder / "state" / "control.sock", request)
    except EdgeAgentError:
        return {}


def run(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(stage.command(*arguments), env=stage.environment, capture_output=True, text=True, timeout=60, check=False)


def trim(plant: Plant) -> float:
    return float(plant.order({"state": True})["trim_applied"])


def loop(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = ask(stage, do="status").get("loops", {}).get("pump", {})
    return found


def test_killed_in_mid_action_the_plant_falls_back_the_loop_observes_and_the_recording_replays_to_the_byte(stage: Stage) -> None:
    plant = stage.start_plant(seed=3)
    recording = stage.folder / "run.rec"
    agent = stage.start_agent("--record", str(recording))
    until("a diagnosis", lambda: (loop(stage).get("diagnosis") or {}).get("status") == "ok")
    until("arming", lambda: ask(stage, do="arm", loop="pump", reason="test", by="test", **{"for": "1h"}).get("mode") == "armed")
    plant.order({"fault": "suction_valve", "severity": 0.7, "ramp_s": 2})
    until("the trim to bite", lambda: trim(plant) < -50)

    agent.kill()
    agent.wait()
    until("the PLC to take the trim back as the lease ends", lambda: trim(plant) == 0, within_s=15)

    stage.start_agent()
    until("the agent to answer", lambda: loop(stage).get("turns", 0) > 5)
    assert loop(stage)["mode"] == "observe"
    assert trim(plant) == 0
    verified = run(stage, "ledger", "verify", str(stage.config), "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    first = run(stage, "replay", str(recording), str(stage.config), "--json", "--out", str(stage.folder / "a"))
    again = run(stage, "replay", str(recording), str(stage.config), "--json", "--out", str(stage.folder / "b"))
    assert first.returncode == again.returncode == 0, first.stdout + first.stderr
    found = json.loads(first.stdout)
    assert found["states"]["pump: relief"] >= 1
    assert found["different"] == found["missing"] == 0
    assert (stage.folder / "a").read_bytes() == (stage.folder / "b").read_bytes()
