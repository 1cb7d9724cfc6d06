import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

TAGS = {"n": {"topic": "count"}, "fast": {"topic": "fast", "qos": 0}}


@pytest.mark.parametrize("version", [5, "3.1.1"])
async def test_a_broker_that_is_killed_comes_back_with_what_was_missed(mosquitto: Any, run: Any, tmp_path: Path, version: Any) -> None:
    async with run(mosquitto.url(), TAGS, tmp_path, version=version) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "count", "1")
        await it.until(lambda: it.heard.values("n") == [1])
        await asyncio.to_thread(mosquitto.stop)
        await it.until(lambda: it.heard.state == "down")
        await asyncio.to_thread(mosquitto.start)
        await it.until(lambda: it.heard.state == "up")
        await asyncio.to_thread(mosquitto.publish, "count", "2")
        await it.until(lambda: it.heard.values("n") == [1, 2])
        assert it.connector.status()["connects"] == 2
        assert [(gap.tag, gap.reason) for gap in it.heard.gaps] == [("fast", "the link was down")]


async def test_messages_sent_while_we_were_away_are_delivered(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), TAGS, tmp_path) as it:
        await it.up()
    await asyncio.to_thread(mosquitto.lines, "count", ["1", "2", "3"])
    async with run(mosquitto.url(), TAGS, tmp_path) as it:
        await it.until(lambda: it.heard.values("n") == [1, 2, 3])
        assert "session resumed" in it.heard.links[1].reason


async def test_a_broker_that_lost_the_session_makes_a_gap(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), TAGS, tmp_path) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "count", "1")
        await it.until(lambda: it.heard.values("n") == [1])
        await asyncio.to_thread(mosquitto.stop)
        (mosquitto.folder / "mosquitto.db").unlink()
        await asyncio.to_thread(mosquitto.start)
        await it.until(lambda: bool(it.heard.gaps))
        gap = it.heard.gaps[0]
        assert (gap.tag, gap.reason) == (None, "the broker kept no session")
        assert gap.start_ns < gap.end_ns


async def test_a_broker_that_is_not_there_yet_is_waited_for(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    await asyncio.to_thread(mosquitto.stop)
    async with run(mosquitto.url(), TAGS, tmp_path) as it:
        await it.status(lambda status: "refused" in status["reason"])
        await asyncio.to_thread(mosquitto.start)
        await it.up()
        assert [link.state for link in it.heard.links] == ["connecting", "down", "up"]


async def test_two_clients_with_one_id_are_told_of_each_other(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), TAGS, tmp_path / "a", client_id="same") as one:
        await one.up()
        async with run(mosquitto.url(), TAGS, tmp_path / "b", client_id="same"):
            await one.status(lambda status: any("another client use the id 'same'" in note for note in status["notes"]))


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b""])
async def test_a_broker_of_3_1_1_only_is_spoken_to_in_3_1_1(run: Any, tmp_path: Path, answer: bytes) -> None:
    """Three ways to refuse MQTT 5: the old CONNACK, the new one, and hanging up."""
    versions: list[int] = []

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await reader.read(1000)
        if not packet:
            writer.close()
            return
        versions.append(packet[packet.index(b"MQTT") + 4])
        if versions[-1] == 5:
            writer.write(answer)
        else:
            writer.write(b"\x20\x02\x00\x00")
            await reader.read(1000)
            writer.write(b"\x90\x04\x00\x01\x01\x00")
            with suppress(ConnectionError):
                await reader.read()
        writer.close()

    async with await asyncio.start_server(old, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with run(f"mqtt://127.0.0.1:{port}", TAGS, tmp_path) as it:
            await it.until(lambda: it.heard.state == "up")
            status = it.connector.status()
            assert status["version"] == "3.1.1"
            assert "speaking MQTT 3.1.1" in status["notes"][0]
    assert versions[-1] == 4


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\x20\x03\x00\x00\x00" + b"\x36\x05\x00\x01a\x00\x01" * 9]
)
async def test_a_peer_that_is_no_broker_is_tried_again(run: Any, tmp_path: Path, noise: bytes) -> None:
    tries = 0

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.read(1000)
        writer.write(noise)
        with suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with run(f"mqtt://127.0.0.1:{port}", TAGS, tmp_path, connect_timeout="500 ms") as it:
            status = await it.status(lambda status: tries >= 3)
            assert status["link"] == "down"
