"""The stage of the closed loop: a plant on node-opcua, a broker and the agent, on one folder for the whole module."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import NodePlant, free_port

from .agent import PASSWORDS, Agent, build
from .bus import Bus, Feed
from .pump_run import RATE, Table, table

OVER_OPCUA = {
    "Volume Flow RateRMS": {"node": "P1.Flow", "unit": "l/min", "range": [0, 60]},
    "Pressure": {"node": "P1.Pressure", "unit": "bar", "range": [-1, 10]},
    "Current": {"node": "P1.Current", "unit": "A", "range": [0, 16]},
    "Voltage": {"node": "P1.Voltage", "unit": "V", "range": [0, 300]},
}


class Plant(NodePlant):
    """A plant that replays a table and takes the trim back when the lease stops. It speaks to the agent's user only, encrypted."""

    def begin(self) -> int:
        """Let the replay begin; the moment of its first row, in ms since 1970."""
        self._signal(signal.SIGUSR2)
        assert self.wait(lambda log: any("replay" in line for line in log))
        return next(int(line["ms"]) for line in self.log if "replay" in line)

    def of(self, node: str) -> list[dict[str, Any]]:
        """Every write that reached this node, in order."""
        return [line for line in self.writes() if line["write"] == node]


@dataclass
class Stage:
    """`set_up` makes a plant that waits, `play` lets a run of the pump begin, `clear` ends it all."""

    folder: Path
    pki: Path
    port: int
    bus: Bus
    agent: Agent
    plant: Plant | None = None
    feed: Feed | None = None

    def set_up(self, run: Table) -> Plant:
        """A fresh plant that holds this run, its trim at 0."""
        self.clear()
        replay = {"csv": run.write(self.folder / "run.csv"), "columns": json.dumps(OVER_OPCUA), "quality": "status", "rate": RATE}
        door = {"none": 0, "anonymous": 0, "user": "agent", "password": PASSWORDS["plc_password"]}
        settings = {**replay, **door, "start": "signal", "stamps": 1, "lease": 1500}
        self.plant = Plant(folder=self.folder, pki=self.pki, port=self.port, settings=settings)
        self.plant.start()
        shutil.copy(self.plant.certificate, self.folder / "plc.der")
        return self.plant

    def play(self, run: Table) -> int:
        """Let it begin, one half over OPC UA, the other over MQTT; the moment of its first row, in ms since 1970."""
        assert self.plant
        start_ms = self.plant.begin()
        self.feed = Feed(self.bus, run, start_ms)
        return start_ms

    def clear(self) -> None:
        """End everything but the broker."""
        self.agent.kill()
        if self.feed:
            self.feed.stop()
        if self.plant:
            self.plant.stop()
        self.feed = self.plant = None


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, plant_pki: Path) -> Iterator[Stage]:
    """A stage on which nothing plays yet; what the agent learns and records stays for the whole module."""
    folder, port = tmp_path_factory.mktemp("closed-loop"), free_port()
    bus = Bus(folder / "bus", free_port())
    agent = build(folder, plant=f"opc.tcp://127.0.0.1:{port}", broker=bus.url)
    made = Stage(folder, plant_pki, port, bus, agent)
    bus.start()
    yield made
    made.clear()
    bus.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The run's name stands in each test's name: nobody shall take a made-up run for a real one."""
    if "run" in metafunc.fixturenames:
        found = table()
        metafunc.parametrize("run", [found], ids=[found.name], scope="module")
