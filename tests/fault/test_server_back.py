"""A server or broker is killed and started again: its data flow within 2 s of its being ready, with the configuration's defaults."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_watch import Watch, delivering

from connectors import mqtt, opcua
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup
from tests.integration.conftest import NodePlant
from tests.integration.mqtt.conftest import Mosquitto

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

BACK_S = 2.0
times = pytest.mark.parametrize("runs", [1, pytest.param(50, marks=[pytest.mark.torture, pytest.mark.timeout(1800)])])


async def _away(watch: Watch, tag: str, kill: Callable[[], None], start: Callable[[], Any], away_s: float) -> float:
    """Seconds from the server's being ready to a value that it made after that."""
    await watch.fresh(tag, time.time_ns(), 20.0)
    await asyncio.to_thread(kill)
    await watch.until("the end of the link to be noticed", lambda: watch.state == "down", 15.0)
    await asyncio.sleep(away_s)
    assert watch.state == "down"
    await asyncio.to_thread(start)
    return await watch.fresh(tag, time.time_ns(), 120.0)


@times
async def test_opcua(node_plant: NodePlant, tmp_path: Path, figure: Callable[..., None], runs: int) -> None:
    config = opcua.Config.model_validate({"type": "opcua", "url": node_plant.url})
    tags = {"counter": opcua.Tag.model_validate({"from": "plc", "node": "nsu=urn:plant;s=Counter"})}
    setup = Setup(name="plc", clock=SystemClock(), state=tmp_path / "state", agent="test")
    watch = Watch()
    async with delivering(opcua.Connector(config, tags, setup), watch):
        took = [await _away(watch, "counter", node_plant.kill, node_plant.start, i % 5 * 2.0) for i in range(runs)]
    assert max(took) <= BACK_S, took
    figure("server back, OPC UA (node-opcua)", runs=runs, worst=f"{max(took):.2f} s")


@times
async def test_mqtt(broker: Mosquitto, tmp_path: Path, figure: Callable[..., None], runs: int) -> None:
    config = mqtt.Config.model_validate({"type": "mqtt", "url": broker.url()})
    tags = {"n": mqtt.Tag.model_validate({"from": "bus", "topic": "n"})}
    setup = Setup(name="bus", clock=SystemClock(), state=tmp_path / "state", agent="test")
    watch = Watch()
    with _sensor(broker):
        async with delivering(mqtt.Connector(config, tags, setup), watch):
            took = [await _away(watch, "n", lambda: broker.stop(kill=True), broker.start, i % 5 * 2.0) for i in range(runs)]
    assert max(took) <= BACK_S, took
    figure("server back, MQTT (mosquitto)", runs=runs, worst=f"{max(took):.2f} s")


@contextmanager
def _sensor(broker: Mosquitto) -> Iterator[None]:
    """Publishes as soon as the broker takes it; a client of its own each time, so that nothing of ours keeps it from it."""
    end = threading.Event()

    def publish() -> None:
        while not end.wait(0.05):
            if broker.process is not None:
                try:
                    broker.publish("n", "1", qos=0)
                except (OSError, subprocess.SubprocessError):
                    continue

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(10)
