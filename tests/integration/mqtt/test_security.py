import asyncio
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

# paho does not close the socket of a failed handshake itself; it is closed when its last reference goes, at once here
PAHO_LEAVES_ITS_SOCKET = "ignore::pytest.PytestUnraisableExceptionWarning"
TAGS = {"n": {"topic": "plant/n"}}


@pytest.mark.parametrize("version", [5, "3.1.1"])
@pytest.mark.parametrize("bulk", [True, False])
async def test_tls_with_the_right_authority(mosquitto: Any, run: Any, tmp_path: Path, version: Any, bulk: bool) -> None:
    async with run(mosquitto.url("tls"), TAGS, tmp_path, tls={"ca": str(mosquitto.ca.file)}, version=version, bulk=bulk) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.lines, "plant/n", [str(i) for i in range(500)])
        await it.until(lambda: it.heard.values("n") == list(range(500)))


async def test_a_block_larger_than_a_tls_record_comes_whole(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    tags = {"vib": {"topic": "vib", "decode": {"type": "f32le", "length": 100_000}}}
    async with run(mosquitto.url("tls"), tags, tmp_path, tls={"ca": str(mosquitto.ca.file)}) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "vib", bytes(400_000))
        await it.until(lambda: bool(it.heard.all))
        assert it.heard.all[0].quality == 0
        assert it.heard.all[0].value.size == 100_000


@pytest.mark.filterwarnings(PAHO_LEAVES_ITS_SOCKET)
async def test_a_broker_of_another_authority_is_refused(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    rogue = type(mosquitto.ca)(tmp_path, "rogue-ca")
    async with run(mosquitto.url("tls"), TAGS, tmp_path, tls={"ca": str(rogue.file)}) as it:
        await it.status(lambda status: "certificate is not trusted" in status["reason"])
        assert [link.state for link in it.heard.links] == ["connecting", "down"]


@pytest.mark.filterwarnings(PAHO_LEAVES_ITS_SOCKET)
async def test_a_broker_under_another_name_is_refused(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    url = mosquitto.url("tls").replace("localhost", "127.0.0.2")
    async with run(url, TAGS, tmp_path, tls={"ca": str(mosquitto.ca.file)}) as it:
        await it.status(lambda status: "127.0.0.2" in status["reason"])
        assert it.heard.state == "down"


async def test_a_missing_certificate_file_is_named(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url("tls"), TAGS, tmp_path, tls={"ca": str(tmp_path / "gone.pem")}) as it:
        await it.status(lambda status: "gone.pem" in status["reason"])


@pytest.mark.parametrize("version", [5, "3.1.1"])
async def test_mutual_tls(mosquitto: Any, run: Any, tmp_path: Path, version: Any) -> None:
    certificate, key = mosquitto.ca.issue("edge-agent-1")
    tls = {"ca": str(mosquitto.ca.file), "certificate": str(certificate), "key": str(key)}
    async with run(mosquitto.url("mtls"), TAGS, tmp_path, tls=tls, version=version) as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "plant/n", "1")
        await it.until(lambda: it.heard.values("n") == [1])


async def test_mutual_tls_without_or_with_a_foreign_certificate_gets_no_link(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    certificate, key = type(mosquitto.ca)(tmp_path, "rogue-ca").issue("edge-agent-1")
    foreign = {"certificate": str(certificate), "key": str(key)}
    for own in ({}, foreign):
        async with run(mosquitto.url("mtls"), TAGS, tmp_path, tls={"ca": str(mosquitto.ca.file), **own}) as it:
            await it.until(lambda: it.heard.state == "down")
            assert it.connector.status()["connects"] == 0


async def test_user_and_password(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    async with run(mosquitto.url("password"), TAGS, tmp_path, user="agent", password="agent-pass") as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "plant/n", "1", listener="password")
        await it.until(lambda: it.heard.values("n") == [1])


@pytest.mark.parametrize("version", [5, "3.1.1"])
async def test_a_wrong_password_is_said_and_does_not_change_the_version(mosquitto: Any, run: Any, tmp_path: Path, version: Any) -> None:
    async with run(mosquitto.url("password"), TAGS, tmp_path, user="agent", password="wrong", version=version) as it:
        await it.status(lambda status: "Not authorized" in status["reason"])
        await asyncio.sleep(1.5)
        assert it.connector.status()["version"] == str(version)


async def test_a_topic_that_the_access_list_denies_is_silent_and_shown_so(mosquitto: Any, run: Any, tmp_path: Path) -> None:
    tags = {**TAGS, "secret": {"topic": "other/secret"}}
    async with run(mosquitto.url("password"), tags, tmp_path, user="agent", password="agent-pass") as it:
        await it.up()
        await asyncio.to_thread(mosquitto.publish, "other/secret", "1", listener="password")
        await asyncio.to_thread(mosquitto.publish, "plant/n", "1", listener="password")
        await it.until(lambda: it.heard.values("n") == [1])
        tags_now = it.connector.status()["tags"]
        assert tags_now["n"]["state"] == "ok"
        assert "silent" in tags_now["secret"]["state"] or "refused" in tags_now["secret"]["state"]


async def test_the_password_is_in_no_log_and_no_status(mosquitto: Any, run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with run(mosquitto.url("password"), TAGS, tmp_path, user="agent", password="agent-pass") as it:
        await it.up()
        assert "agent-pass" not in f"{it.connector.status()} {caplog.text}"
