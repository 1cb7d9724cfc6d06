"""The network is cut in every way a relay knows: what is missing lies inside a declared gap, nothing hangs, and all comes back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_lines import CALL_S, Line, judge, undeclared, worry
from fault_wire import Wire

from connectors import mqtt, opcua
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup
from tests.integration.conftest import NodePlant, free_port
from tests.integration.mqtt.conftest import Mosquitto

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

STEP_MS = 50
QUICK = pytest.param(7, 1, 1.3, marks=pytest.mark.timeout(120))  # lines, cuts of each, longest
LONG = pytest.param(8, 26, 12.0, marks=[pytest.mark.torture, pytest.mark.timeout(1800)])
sizes = pytest.mark.parametrize(("lines", "cuts", "longest_s"), [QUICK, LONG])


@sizes
async def test_cut_from_an_asyncua_server(
    asyncua_plant: int, tmp_path: Path, figure: Callable[..., None], lines: int, cuts: int, longest_s: float
) -> None:
    figure("network, OPC UA (asyncua)", **await _opcua(asyncua_plant, tmp_path, lines, cuts, longest_s))


@sizes
async def test_cut_from_a_node_opcua_server(
    node_plant: NodePlant, tmp_path: Path, figure: Callable[..., None], lines: int, cuts: int, longest_s: float
) -> None:
    figure("network, OPC UA (node-opcua)", **await _opcua(node_plant.port, tmp_path, lines, cuts, longest_s))


@sizes
async def test_cut_from_mosquitto(
    broker: Mosquitto, tmp_path: Path, figure: Callable[..., None], lines: int, cuts: int, longest_s: float
) -> None:
    with ExitStack() as stack:
        publisher = stack.enter_context(Publisher(broker.ports["plain"]))
        made = [_mqtt_line(stack.enter_context(Wire(broker.ports["plain"])), tmp_path / f"state{i}", f"line{i}") for i in range(lines)]
        await worry(made, cuts, longest_s)
        figures = judge(made, cuts)
    lost = 0
    for line in made:
        kept, fast = (line.watch.of(tag) for tag in ("kept", "fast"))
        assert len({s.value for s in kept}) > cuts * 10
        assert publisher.missing(kept) == [], "QoS 1 in a session that the broker keeps loses nothing"
        missing = publisher.missing(fast)
        assert [n for n in missing if not line.watch.covered("fast", publisher.sent[n] * 1_000_000)] == [], line.watch.gaps
        lost += len(missing)
    assert lost, "no cut cost a QoS 0 message"
    figure("network, MQTT (mosquitto)", **figures, **{"QoS 0 missing, all declared": lost, "QoS 1 missing": 0})


# ---------------------------------------------------------------- OPC UA


async def _opcua(port: int, tmp_path: Path, lines: int, cuts: int, longest_s: float) -> dict[str, Any]:
    with ExitStack() as stack:
        made = [_opcua_line(stack.enter_context(Wire(port)), tmp_path / f"state{i}") for i in range(lines)]
        await worry(made, cuts, longest_s)
        figures = judge(made, cuts)
    seen = missing = 0
    for line in made:
        values, lost, bad = undeclared(line, STEP_MS * 1_000_000)
        assert bad == [], (bad[:3], line.watch.gaps, line.cuts)
        seen, missing = seen + values, missing + lost
    assert seen > lines * (cuts + 1) * 10
    return {**figures, "values": seen, "missing, all declared": missing}


def _opcua_line(wire: Wire, state: Path) -> Line:
    times = {"request_timeout": f"{CALL_S} s", "keep_alive": "1 s", "publish": "100 ms", "sampling": "0 s"}
    config = opcua.Config.model_validate({"type": "opcua", "url": f"opc.tcp://127.0.0.1:{wire.port}", **times})
    places = {"counter": "Counter", "trim": "P1.SpeedTrim"}
    tags = {name: opcua.Tag.model_validate({"from": "plc", "node": f"nsu=urn:plant;s={node}"}) for name, node in places.items()}
    connector = opcua.Connector(config, tags, Setup(name="plc", clock=SystemClock(), state=state, agent="test"))
    calls = {"read": partial(connector.read, "trim"), "write": partial(connector.write, "trim", 1.0, CALL_S)}
    return Line(connector, wire, "counter", calls)


@pytest.fixture
def asyncua_plant() -> Iterator[int]:
    """The port of asyncua_plant.py."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("asyncua_plant.py")), str(port), str(STEP_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield port
        process.kill()


# ---------------------------------------------------------------- MQTT


def _mqtt_line(wire: Wire, state: Path, name: str) -> Line:
    config = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{wire.port}", "client_id": name, "keep_alive": "2 s"}
    decode = {"type": "json", "path": "n", "time": "t"}
    places = {
        "kept": {"topic": "kept", "qos": 1, "decode": decode},
        "fast": {"topic": "fast", "qos": 0, "decode": decode},
        "valve": {"topic": f"cmd/{name}", "publish": {"topic": f"cmd/{name}"}, "write": True},  # somebody must be subscribed
    }
    tags = {tag: mqtt.Tag.model_validate({"from": "bus", **place}) for tag, place in places.items()}
    setup = Setup(name="bus", clock=SystemClock(), state=state, agent="test")
    connector = mqtt.Connector(mqtt.Config.model_validate(config), tags, setup)
    return Line(connector, wire, "kept", {"write": partial(connector.write, "valve", 1.0, CALL_S)})


class Publisher:
    """Counts on two topics, one message every STEP_MS on each, through mosquitto_pub; knows what it sent when."""

    def __init__(self, port: int) -> None:
        self.sent: dict[int, int] = {}  # count -> ms
        self._end = threading.Event()
        self._clients = [self._client(port, topic, qos) for topic, qos in (("kept", "1"), ("fast", "0"))]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join(10)
        for client in self._clients:
            assert client.stdin
            client.stdin.close()
            client.wait(10)

    def missing(self, samples: list[Any]) -> list[int]:
        """Counts that lie between the first and the last one seen, and were not seen."""
        seen = {int(s.value) for s in samples}
        return sorted(set(range(min(seen), max(seen))) - seen)

    def _run(self) -> None:
        count = 0
        while not self._end.wait(STEP_MS / 1000):
            count += 1
            self.sent[count] = round(time.time() * 1000)
            for client in self._clients:
                assert client.stdin
                client.stdin.write(json.dumps({"n": count, "t": self.sent[count]}) + "\n")

    def _client(self, port: int, topic: str, qos: str) -> subprocess.Popen[str]:
        command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", qos, "-l"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1)
