"""Does the plant's own process answer over real OPC UA and MQTT clients, and refuse what it should?"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest

from edge_agent.demo import certificate

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAMESPACE = "urn:edge-agent:demo-plant"


class Plant:
    """The process, its first line, and its answers."""

    def __init__(self, state: Path) -> None:
        command = [sys.executable, "-m", "edge_agent.demo.plant", "--state", str(state), "--seed", "3"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.ready = json.loads(self.stdout.readline())
        self.password = Path(self.ready["password_file"]).read_text().strip()

    def ask(self, order: Any) -> dict[str, Any]:
        self.stdin.write(json.dumps(order).encode() + b"\n")
        self.stdin.flush()
        reply: dict[str, Any] = json.loads(self.stdout.readline())
        return reply

    def stop(self) -> tuple[int, bytes]:
        self.process.terminate()
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    running = Plant(tmp_path_factory.mktemp("plant"))
    yield running
    if running.process.poll() is None:
        running.stop()
    for pipe in (running.process.stdin, running.process.stdout, running.process.stderr):
        if pipe:
            pipe.close()


@pytest.fixture
async def reader(plant: Plant) -> AsyncIterator[Any]:
    """An anonymous session on the open endpoint."""
    from asyncua import Client

    async with Client(plant.ready["opcua"]) as client:
        yield client


@pytest.fixture
async def operator(plant: Plant, tmp_path: Path) -> AsyncIterator[Any]:
    """The agent's user on the encrypted endpoint, the server's certificate pinned."""
    import datetime

    from asyncua import Client
    from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    shown, key = certificate.ensure(tmp_path, name="client", uri="urn:test:client", now=moment)
    client = Client(plant.ready["opcua"])
    client.application_uri = "urn:test:client"
    await client.set_security(SecurityPolicyBasic256Sha256, shown, key, server_certificate=plant.ready["certificate"])
    client.set_user(plant.ready["user"])
    client.set_password(plant.password)
    async with client:
        yield client


async def node(client: Any, name: str) -> Any:
    return client.get_node(f"ns={await client.get_namespace_index(NAMESPACE)};s=P1.{name}")


async def write(client: Any, name: str, value: Any, kind: str = "Double") -> None:
    from asyncua import ua

    target = await node(client, name)
    await target.write_attribute(ua.AttributeIds.Value, ua.DataValue(ua.Variant(value, getattr(ua.VariantType, kind))))


async def test_anybody_may_read_flow_with_unit_range_and_source_time(reader: Any) -> None:
    flow = await node(reader, "Flow")
    value = await flow.read_data_value()
    assert 30.0 < value.Value.Value < 50.0
    assert value.SourceTimestamp is not None
    unit = await (await flow.get_child("0:EngineeringUnits")).read_value()
    span = await (await flow.get_child("0:EURange")).read_value()
    assert unit.DisplayName.Text == "l/min"
    assert (span.Low, span.High) == (0.0, 60.0)


async def test_nobody_writes_over_the_open_endpoint(reader: Any) -> None:
    from asyncua.ua.uaerrors import BadUserAccessDenied

    with pytest.raises(BadUserAccessDenied):
        await write(reader, "SpeedTrim", -100.0)


async def test_the_user_is_unknown_over_the_open_endpoint(plant: Plant) -> None:
    from asyncua import Client
    from asyncua.ua.uaerrors import BadUserAccessDenied

    client = Client(plant.ready["opcua"])
    client.set_user(plant.ready["user"])
    client.set_password(plant.password)
    try:
        with pytest.raises(BadUserAccessDenied):
            await client.connect()
    finally:
        client.disconnect_socket()


async def test_the_operator_writes_a_trim_and_the_program_takes_it(plant: Plant, operator: Any) -> None:
    await write(operator, "Lease", 1, "UInt32")
    await write(operator, "SpeedTrim", -50.0)
    assert plant.ask({"state": True})["trim_setpoint"] == -50.0
    await write(operator, "SpeedTrim", 0.0)


async def test_the_program_refuses_what_is_out_of_range_or_of_the_wrong_type(operator: Any) -> None:
    from asyncua.ua.uaerrors import BadOutOfRange, BadTypeMismatch, BadWriteNotSupported

    with pytest.raises(BadOutOfRange):
        await write(operator, "SpeedTrim", -401.0)
    with pytest.raises(BadTypeMismatch):
        await write(operator, "SpeedTrim", -100, "Int64")
    with pytest.raises(BadWriteNotSupported):
        await (await node(operator, "SpeedTrim")).write_value(-100.0)  # sends a source time stamp


async def test_sensors_cannot_be_written(operator: Any) -> None:
    from asyncua.ua.uaerrors import BadNotWritable

    with pytest.raises(BadNotWritable):
        await write(operator, "Flow", 1.0)


async def test_in_local_the_program_refuses(plant: Plant, operator: Any) -> None:
    from asyncua.ua.uaerrors import BadInvalidState

    assert plant.ask({"set": {"remote": False}})["ok"]
    with pytest.raises(BadInvalidState):
        await write(operator, "SpeedTrim", -100.0)
    assert plant.ask({"set": {"remote": True}})["ok"]


async def test_a_lost_sensor_shows_as_a_bad_status(plant: Plant, reader: Any) -> None:
    from asyncua import ua

    plant.ask({"fault": "dropout", "signal": "current", "severity": 1})
    found: queue.Queue[Any] = queue.Queue(maxsize=100)

    class Handler:
        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            if data.monitored_item.Value.StatusCode.is_bad():
                found.put_nowait(data.monitored_item.Value.StatusCode.value)

    async with await reader.create_subscription(50, Handler()) as subscription:
        await subscription.subscribe_data_change(await node(reader, "Current"))
        import anyio

        status = await anyio.to_thread.run_sync(lambda: found.get(timeout=10))
    plant.ask({"clear": True})
    assert status == ua.StatusCodes.BadSensorFailure


def test_the_vibration_arrives_as_blocks_and_the_level_as_json(plant: Plant) -> None:
    got: queue.Queue[tuple[str, bytes]] = queue.Queue(maxsize=100)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="test", protocol=mqtt.MQTTv311)
    client.on_message = lambda _c, _u, message: got.put_nowait((message.topic, message.payload))
    client.on_connect = lambda c, *_: c.subscribe("plant/p1/#", qos=1)
    host, port = plant.ready["mqtt"].removeprefix("mqtt://").split(":")
    client.connect(host, int(port))
    client.loop_start()
    try:
        seen = dict(got.get(timeout=10) for _ in range(4))
    finally:
        client.disconnect()
        client.loop_stop()
    assert np.frombuffer(seen["plant/p1/vibration"], "<f4").shape == (512,)
    state = json.loads(seen["plant/p1/state"])
    assert state["q"] == "good"
    assert 0.9 < state["tank_level"] < 1.1


def test_a_broken_order_does_not_stop_the_plant(plant: Plant) -> None:
    plant.stdin.write(b"nonsense\n")
    plant.stdin.flush()
    assert not json.loads(plant.stdout.readline())["ok"]
    assert plant.ask({"state": True})["ok"]


def test_sigterm_stops_it_in_order_and_in_silence(plant: Plant) -> None:
    code, errors = plant.stop()
    assert code == 0
    assert errors == b""
