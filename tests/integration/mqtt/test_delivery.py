import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

COUNT = {"n": {"topic": "count"}}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("version", "reading"), [("5", "bulk"), ("3.1.1", "bulk"), ("5", "stock")])
def test_a_subscriber_killed_again_and_again_loses_nothing(mosquitto: Any, tmp_path: Path, version: str, reading: str) -> None:
    file, state, total, kills = tmp_path / "stored", tmp_path / "state", 3000, 6
    command = [sys.executable, str(Path(__file__).parent / "subscriber.py"), mosquitto.url(), str(file), str(state), version, reading]

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "connecting\n"
        assert process.stdout.readline() == "up\n"
        return process

    process = start()
    for part in range(kills):
        numbers = range(part * total // kills, (part + 1) * total // kills)
        mosquitto.lines("count", [str(i) for i in numbers])
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        process = start()
    try:
        for _ in range(1000):
            if len(set(file.read_text().split())) >= total:
                break
            process.poll()
            asyncio.run(asyncio.sleep(0.02))
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert {int(n) for n in file.read_text().split()} == set(range(total))


@pytest.mark.parametrize("bulk", [True, False])
async def test_nothing_is_acknowledged_before_its_commit(mosquitto: Any, run: Any, tmp_path: Path, bulk: bool) -> None:
    async with run(mosquitto.url(), COUNT, tmp_path, hold=True, bulk=bulk) as first:
        await first.up()
        await asyncio.to_thread(mosquitto.lines, "count", ["1", "2", "3"])
        await first.until(lambda: first.heard.values("n") == [1, 2, 3])
        assert first.connector.status()["unacknowledged"] == 3
    async with run(mosquitto.url(), COUNT, tmp_path, hold=True, bulk=bulk) as second:
        await second.until(lambda: second.heard.values("n") == [1, 2, 3])
        assert second.connector.status()["counts"]["again"] == 3
        for committed in second.heard.held:
            committed()
        await second.status(lambda status: not status["unacknowledged"])
    async with run(mosquitto.url(), COUNT, tmp_path, bulk=bulk) as third:
        await third.up()
        await asyncio.to_thread(mosquitto.publish, "count", "4")
        await third.until(lambda: third.heard.values("n") == [4])


async def test_what_is_not_stored_in_time_is_asked_for_again(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), COUNT, tmp_path, hold=True, commit_timeout="500 ms") as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "count", "1")
        await it.until(lambda: it.heard.values("n") == [1, 1])
        assert [link.state for link in it.heard.links] == ["connecting", "up", "down", "up"]
        assert "not stored within" in it.heard.links[2].reason


async def test_no_more_is_in_flight_than_allowed(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), COUNT, tmp_path, hold=True, receive_maximum=10) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.lines, "count", [str(i) for i in range(50)])
        await it.until(lambda: len(it.heard.all) == 10)
        await asyncio.sleep(0.3)
        assert it.connector.status()["unacknowledged"] == 10


@pytest.mark.parametrize("version", [5, "3.1.1"])
@pytest.mark.parametrize("bulk", [True, False])
async def test_wildcards_and_several_tags_on_one_topic(mosquitto: Any, run: Any, tmp_path: Path, version: Any, bulk: bool) -> None:
    tags = {
        "flow": {"topic": "plant/p1/state", "decode": {"type": "json", "path": "flow"}},
        "temp": {"topic": "plant/+/state", "decode": {"type": "json", "path": "temp"}},
        "all": {"topic": "plant/#", "qos": 0, "decode": {"type": "text"}},
    }
    async with run(mosquitto.url(), tags, tmp_path, version=version, bulk=bulk) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "plant/p1/state", '{"flow": 1.5, "temp": 20}')
        await asyncio.to_thread(mosquitto.publish, "plant/p2/state", '{"flow": 2.5, "temp": 30}')
        await it.until(lambda: set(it.heard.values("temp")) == {20, 30} and len(set(it.heard.values("all"))) == 2)
        assert set(it.heard.values("flow")) == {1.5}


@pytest.mark.parametrize("bulk", [True, False])
async def test_bad_payloads_are_counted_and_the_next_good_one_comes_through(mosquitto: Any, run: Any, tmp_path: Path, bulk: bool) -> None:
    tags = {"v": {"topic": "v", "decode": {"type": "json", "path": "v"}}}
    bad = [b"not json", b"\x00\xff\x00\xff", b"x" * 10_000_000, b"[" * 100_000, b'{"v": NaN}', b'{"w": 1}', b'{"v": ' + b"9" * 5000 + b"}"]
    async with run(mosquitto.url(), tags, tmp_path, bulk=bulk) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "v", *bad, '{"v": 1}')
        await it.until(lambda: it.heard.values("v") == [None] * len(bad) + [1])
        status = it.connector.status()
        assert status["tags"]["v"]["bad"] == {"type": 5, "oversized": 1, "not_finite": 1}
        assert status["connects"] == 1
        assert status["unacknowledged"] == 0


async def test_a_retained_value_is_taken_but_marked(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    mosquitto.publish("count", "5", retain=True)
    async with run(mosquitto.url(), COUNT, tmp_path) as it:
        await it.until(lambda: it.heard.values("n") == [5])
        assert it.heard.all[0].quality == 1


async def test_topics_taken_out_of_the_configuration_are_let_go(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url(), {**COUNT, "old": {"topic": "old"}}, tmp_path) as it:
        await it.up()
    async with run(mosquitto.url(), COUNT, tmp_path) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "old", "1")
        await asyncio.to_thread(mosquitto.publish, "count", "1")
        await it.until(lambda: it.heard.values("n") == [1])
        assert it.connector.status()["unrouted"] == 0
