"""The whole connector against asyncua's own server, which differs from others in its habits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connectors.opcua import Config, Connector, Tag
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup
from edge_agent.opcua.channel import Channel

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(url: str, state: Path, seen: Any, **config: Any) -> AsyncIterator[Connector]:
    settings = Config.model_validate({"type": "opcua", "url": url, "publish": "50 ms", "sampling": "10 ms", **config})
    tags = {n.lower(): Tag.model_validate({"from": "plc", "node": f"nsu=urn:plant;s={n}"}) for n in ("Counter", "Setpoint", "Gone")}
    connector = Connector(settings, tags, Setup(name="plc", clock=SystemClock(), state=state, agent="test"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(connector.run(seen))
        yield connector
        task.cancel()


async def test_counts_arrive_a_bad_node_is_named_and_a_write_reads_back(embedded_server: str, tmp_path: Path, seen: Any) -> None:
    async with running(embedded_server, tmp_path, seen) as connector:
        await seen.until(lambda: len(seen.of("counter")) > 5)
        reply = await connector.write("setpoint", 7, 2)
        reading = await connector.read("setpoint")
        contract = await connector.describe("setpoint")
        await seen.until(lambda: seen.of("setpoint")[-1].value == 7)
        status = connector.status()
    assert (reply.status, reading.value, contract.type, contract.writable) == ("good", 7.0, "Double", True)
    assert all(b.value == a.value + 1 for a, b in pairwise(seen.of("counter")))
    assert "BadNodeIdUnknown" in status["tags"]["gone"]
    assert seen.gaps == []


async def test_a_dropped_connection_is_taken_up_and_every_loss_is_declared(
    embedded_server: str, tmp_path: Path, seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Channel] = []
    opened = Channel.open

    async def noted(channel: Channel) -> None:
        made.append(channel)
        await opened(channel)

    monkeypatch.setattr(Channel, "open", noted)
    async with running(embedded_server, tmp_path, seen) as connector:
        await seen.until(lambda: len(seen.of("counter")) > 5)
        made[-1]._client.uaclient.protocol.transport.abort()
        await seen.until(lambda: [s.state for s in seen.links][-2:] == ["down", "up"])
        before = len(seen.of("counter"))
        await seen.until(lambda: len(seen.of("counter")) > before + 5)
        assert connector.status()["counts"]["losses"] == 1
    for a, b in pairwise(seen.of("counter")):
        assert b.value == a.value + 1 or any(g.start_ns <= a.source_ns and b.source_ns <= g.end_ns for g in seen.gaps), (a, b)


async def test_cancelling_ends_the_connector_at_any_moment(embedded_server: str, tmp_path: Path, seen: Any) -> None:
    for moment_s in (0, 0.01, 0.03, 0.1):
        async with asyncio.timeout(5):
            async with running(embedded_server, tmp_path, seen):
                await asyncio.sleep(moment_s)  # the moment is what is tested


def test_asyncua_still_has_what_the_channel_leans_on() -> None:
    from asyncua import Client

    client = Client("opc.tcp://127.0.0.1:4840")
    for name in ("_server_nonce", "_policy_ids", "server_policy", "secure_channel_timeout", "session_timeout", "uaclient"):
        assert hasattr(client, name), name
    protocol = client.uaclient._make_protocol()
    assert hasattr(protocol, "transport")
    assert callable(protocol.send_request)
    assert callable(client.uaclient.session.restore_authentication_token)
