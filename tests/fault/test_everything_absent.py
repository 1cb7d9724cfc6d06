"""Nothing is there when the agent starts: it is ready all the same, stays, and each link comes up soon after its peer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_theatre import Manager

from edge_agent import control
from edge_agent.errors import EdgeAgentError
from tests.integration.conftest import NodePlant, free_port
from tests.integration.mqtt.conftest import Authority, Mosquitto

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

READY_S, UP_S = 10.0, 5.0
CONFIG = """\
version: 1
agent: {{name: a1, owner: acme, state: {state}}}
ledger: {{min_free: 1 MB}}
connectors:
  plc: {{type: opcua, url: "opc.tcp://127.0.0.1:{plc}"}}
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:{bus}"}}
  nobody: {{type: opcua, url: "opc.tcp://127.0.0.1:{nobody}"}}
  nowhere: {{type: mqtt, url: "mqtt://nowhere.invalid"}}
tags:
  counter: {{from: plc, node: "nsu=urn:plant;s=Counter"}}
  level: {{from: bus, topic: level}}
  never: {{from: nobody, node: "nsu=urn:plant;s=Counter"}}
  lost: {{from: nowhere, topic: level}}
"""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e")


@pytest.fixture
def bus(folder: Path) -> Iterator[Mosquitto]:
    """A broker, not running; its ports are known."""
    (folder / "bus").mkdir()
    made = Mosquitto(folder / "bus", Authority(folder / "bus", "ca"))
    made.start()
    made.stop(kill=True)
    yield made
    if made.process is not None:
        made.stop(kill=True)


def status(folder: Path) -> dict[str, Any]:
    try:
        return control.ask(folder / "state" / "control.sock", {"do": "status"}, 5.0)
    except EdgeAgentError:
        return {}


def within(limit_s: float, what: str, holds: Callable[[], Any]) -> float:
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < limit_s, what
        time.sleep(0.05)
    return time.monotonic() - start


def up(folder: Path, link: str) -> bool:
    return bool(status(folder).get("connectors", {}).get(link, {}).get("link") == "up")


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=[pytest.mark.torture, pytest.mark.timeout(900)])])
def test_ready_without_anybody_and_up_with_each(
    folder: Path, plant_pki: Path, bus: Mosquitto, figure: Callable[..., None], rounds: int
) -> None:
    (folder / "plant").mkdir()
    plc = NodePlant(folder=folder / "plant", pki=plant_pki, port=free_port())
    ports = {"plc": plc.port, "bus": bus.ports["plain"], "nobody": free_port()}
    (folder / "a1.yaml").write_text(CONFIG.format(state=folder / "state", **ports))
    worst: dict[str, float] = {}
    for number in range(rounds):
        manager = Manager(folder / f"notify{number}")
        command = [sys.executable, "-m", "edge_agent", "run", str(folder / "a1.yaml")]
        with (folder / "log").open("ab") as log:
            agent = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": str(manager.path)}, stdout=log, stderr=log)
        try:
            took = {"ready": within(READY_S, "READY=1", lambda m=manager: m.said("READY=1"))}
            time.sleep(3.0 + number)  # the longer nobody answers, the longer the waits become
            assert [up(folder, link) for link in ("plc", "bus", "nobody", "nowhere")] == [False] * 4
            assert all(link["reason"] for link in status(folder)["connectors"].values()), "each says what it waits for"
            bus.start()
            took["mqtt"] = within(UP_S, "the broker's link", lambda: up(folder, "bus"))
            plc.start()
            took["opcua"] = within(UP_S, "the server's link", lambda: up(folder, "plc"))
            assert agent.poll() is None
            worst = {what: max(seconds, worst.get(what, 0.0)) for what, seconds in took.items()}
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(30) == 0
            bus.stop(kill=True)
            plc.stop()
    figure("everything absent", rounds=rounds, exits=0, **{what: f"{seconds:.1f} s" for what, seconds in worst.items()})
