import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import PlantError
from edge_agent.mqtt.envelope import verify

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

SECRET = "the plant's shared secret"
TRIM = {"topic": "plant/p1/speed", "write": True, "publish": {"topic": "plant/p1/cmd", "envelope": {"sign": SECRET}}}


async def printed(watch: subprocess.Popen[bytes]) -> list[tuple[str, str, bytes]]:
    out, _ = await asyncio.to_thread(watch.communicate)
    return [(retained.decode(), topic.decode(), payload) for retained, topic, payload in (line.split(b" ", 2) for line in out.splitlines())]


@pytest.mark.parametrize("version", [5, "3.1.1"])
@pytest.mark.parametrize("bulk", [True, False])
async def test_a_command_is_signed_fresh_and_never_retained(mosquitto: Any, run: Any, tmp_path: Path, version: Any, bulk: bool) -> None:
    async with run(mosquitto.url(), {"speed": TRIM}, tmp_path, version=version, bulk=bulk) as it:
        await it.up()
        live = mosquitto.watch("plant/p1/cmd", 2)
        await asyncio.sleep(0.5)
        assert (await it.connector.write("speed", -200.0, 2.0)).status == "good"
        assert (await it.connector.write("speed", -100.0, 2.0)).status == "good"
        first, second = await printed(live)
        assert await printed(mosquitto.watch("plant/#", 1)) == [], "a late subscriber must hear nothing"
    now_ms = time.time_ns() // 1_000_000
    keys: dict[str, Any] = {"topic": "plant/p1/cmd", "key": SECRET.encode(), "now_ms": now_ms - 1500}
    assert first[0] == second[0] == "0"
    accepted = verify(first[2], last_seq=-1, retained=False, **keys)
    assert accepted.command is not None
    assert accepted.command.value == -200.0
    assert verify(second[2], last_seq=accepted.command.seq, retained=False, **keys).accepted
    assert "seen before" in verify(first[2], last_seq=accepted.command.seq, retained=False, **keys).why
    assert "retained" in verify(second[2], last_seq=-1, retained=True, **keys).why
    assert "expired" in verify(second[2], last_seq=-1, retained=False, **{**keys, "now_ms": now_ms + 5000}).why


async def test_a_command_without_a_link_is_refused_and_never_sent_later(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"speed": TRIM}, tmp_path) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.stop)
        await it.until(lambda: it.heard.state == "down")
        reply = await it.connector.write("speed", -200.0, 1.0)
        assert reply.status == "refused"
        assert "no link" in reply.code
        with pytest.raises(PlantError, match="no link"):
            await it.connector.describe("speed")
        await asyncio.to_thread(mosquitto.start)
        watch = mosquitto.watch("plant/p1/cmd", 2)
        await it.until(lambda: it.heard.state == "up")
        assert await printed(watch) == []


async def test_a_broker_that_does_not_answer_makes_the_outcome_unknown(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"speed": TRIM}, tmp_path) as it:
        await it.up()
        mosquitto.process.send_signal(19)
        try:
            reply = await it.connector.write("speed", -200.0, 0.3)
        finally:
            mosquitto.process.send_signal(18)
        assert reply.status == "unknown"


async def test_a_command_that_the_access_list_denies_is_refused(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    tags = {"other": {"publish": {"topic": "forbidden/cmd"}, "write": True}}
    async with run(mosquitto.url("password"), tags, tmp_path, user="agent", password="agent-pass") as it:
        await it.until(lambda: it.heard.state == "up")
        reply = await it.connector.write("other", 1.0, 2.0)
        assert (reply.status, reply.code) == ("refused", "Not authorized")


async def test_a_command_that_nobody_hears_is_refused(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"speed": TRIM}, tmp_path) as it:
        await it.up()
        reply = await it.connector.write("speed", 1.0, 2.0)
        assert reply.status == "refused"
        assert "nobody is subscribed" in reply.code


async def test_the_read_back_is_what_the_plant_published(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"speed": TRIM}, tmp_path) as it:
        await it.up()
        with pytest.raises(PlantError, match="nothing was received"):
            await it.connector.read("speed")
        await asyncio.to_thread(mosquitto.publish, "plant/p1/speed", "-200")
        await it.until(lambda: bool(it.heard.all))
        reading = await it.connector.read("speed")
        assert (reading.value, reading.quality) == (-200.0, 0)
        assert (await it.connector.describe("speed")).writable


async def test_a_tag_without_a_topic_cannot_be_read_back(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"x": {"publish": {"topic": "x"}, "write": True}}, tmp_path) as it:
        with pytest.raises(PlantError, match="cannot be read back"):
            await it.connector.read("x")


async def test_mqtt_has_no_methods(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"speed": TRIM}, tmp_path) as it:
        assert (await it.connector.call("speed", (), 1.0)).status == "refused"


CALL = {
    "topic": "plant/gate/taken",
    "decode": {"type": "json", "path": "part"},
    "write": True,
    "publish": {"topic": "plant/gate/verdict", "arguments": ["part", "verdict"], "expiry": "1 s"},
}


async def test_a_call_is_good_only_once_the_plant_itself_says_that_it_took_it(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"gate": CALL}, tmp_path) as it:
        await it.up()
        assert (await it.connector.describe("gate")).type == "method"
        watch = mosquitto.watch("plant/gate/verdict", 3)
        await asyncio.sleep(0.5)
        unanswered = await it.connector.call("gate", (7, 1), 0.3)
        assert unanswered.status == "unknown", "the broker has it, and nobody knows more"
        asking = asyncio.ensure_future(it.connector.call("gate", (8, 0), 5.0))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(mosquitto.publish, "plant/gate/taken", '{"part": 7}')
        await asyncio.sleep(0.2)
        assert not asking.done(), "the answer to another call is none to this one"
        await asyncio.to_thread(mosquitto.publish, "plant/gate/taken", '{"part": 8}')
        assert (await asking).status == "good"
        sent = [json.loads(payload) for _, _, payload in await printed(watch)]
    assert [(s["part"], s["verdict"]) for s in sent] == [(7, 1), (8, 0)]
    assert sent[1]["seq"] > sent[0]["seq"]
    assert all(s["expires_ms"] - s["issued_ms"] == 1000 for s in sent)


async def test_what_is_no_call_is_refused_before_anything_is_sent(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {"gate": CALL, "speed": TRIM}, tmp_path) as it:
        await it.up()
        watch = mosquitto.watch("plant/#", 1)
        assert (await it.connector.call("gate", (7,), 1.0)).status == "refused"
        assert (await it.connector.call("speed", (7,), 1.0)).status == "refused"
        assert (await it.connector.write("gate", 7, 1.0)).status == "refused"
        assert await printed(watch) == []
