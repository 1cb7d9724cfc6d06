"""Only the pinned server is spoken to, and only a known user is let in."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import PlantError
from edge_agent.opcua import security
from edge_agent.opcua.options import Login, Options, Security

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
Make = Callable[..., Any]


def _secure(plant: Any, policy: str = "Basic256Sha256", mode: str = "SignAndEncrypt", **more: Any) -> dict[str, Any]:
    return {"security": {"policy": policy, "mode": mode, "trust": str(plant.certificate)}, **more}


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"])
@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
async def test_the_pinned_server_is_spoken_to_with_user_and_password(node_plant: Make, opcua_session: Make, policy: str, mode: str) -> None:
    plant = node_plant(none=0, anonymous=0).start()
    config = _secure(plant, policy, mode, user="agent", password="secret")
    async with opcua_session(plant.url, {"counter": "Counter", "trim": "P1.SpeedTrim"}, **config) as session:
        await session.seen.until(lambda: len(session.seen.of("counter")) > 3)
        reply = await session.connector.write("trim", 20.0, 3)
        status = session.status()
    assert reply.status == "good"
    assert plant.wait(lambda log: any("write" in line for line in log))
    assert plant.writes()[0] == {
        "write": "P1.SpeedTrim",
        "value": 20,
        "type": "Double",
        "stamped": False,
        "user": "agent",
        "client": "edge-agent test",
    }
    assert status["security"] == f"{policy} {mode}"
    assert "secret" not in str(status)


def _options(state: Path) -> Options:
    trust = Security(policy="Basic256Sha256", mode="SignAndEncrypt", trust=state / "none.der")
    times = {"outage_s": 60, "publish_s": 0.2, "keep_alive_s": 3, "session_s": 60, "request_s": 4, "max_backoff_s": 30, "audit_s": 60}
    return Options(connector="plc", agent="user", url="", state=state, security=trust, login=Login(), **times)


async def test_an_impostor_is_refused_and_the_reason_is_said(node_plant: Make, opcua_session: Make, tmp_path: Path) -> None:
    real, impostor = node_plant().start(), node_plant(pki=tmp_path / "other").start()
    async with opcua_session(impostor.url, {"counter": "Counter"}, **_secure(real)) as session:
        await session.seen.until(lambda: "down" in session.seen.states(), 20)
        assert "not the pinned one" in session.seen.links[-1].reason
        assert session.seen.all == []


async def test_a_folder_may_hold_the_old_and_the_new_certificate(node_plant: Make, opcua_session: Make, tmp_path: Path) -> None:
    old, new = node_plant(pki=tmp_path / "other").start(), node_plant().start()
    old.stop()
    folder = tmp_path / "trust"
    folder.mkdir()
    shutil.copy(old.certificate, folder / "a.der")
    shutil.copy(new.certificate, folder / "b.der")
    config = {"security": {"policy": "Basic256Sha256", "trust": str(folder)}}
    async with opcua_session(new.url, {"counter": "Counter"}, **config) as session:
        await session.seen.until(lambda: session.seen.of("counter"))
    (folder / "b.der").unlink()
    shutil.copy(old.certificate, folder / "c.der")
    async with opcua_session(new.url, {"counter": "Counter"}, **config) as session:
        await session.seen.until(lambda: "down" in session.seen.states())
        assert "not among the trusted" in session.seen.links[-1].reason


async def test_a_wrong_password_is_refused_and_never_shown(node_plant: Make, opcua_session: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    plant = node_plant(anonymous=0).start()
    async with opcua_session(plant.url, {"counter": "Counter"}, **_secure(plant, user="agent", password="hunter2")) as session:
        await session.seen.until(lambda: "down" in session.seen.states())
        assert "refuses this user" in session.seen.links[-1].reason
        status = str(session.status())
    assert "hunter2" not in status + caplog.text
    assert sum("no link" in r.message for r in caplog.records) == 1
    assert not any(r.name.startswith("asyncua") for r in caplog.records)


async def test_a_user_may_log_in_with_a_certificate(node_plant: Make, opcua_session: Make, tmp_path: Path) -> None:
    plant = node_plant(none=0, anonymous=0).start()
    with pytest.raises(PlantError):  # makes a key and a certificate, and finds no pin
        security.load(_options(tmp_path / "user"), SystemClock())
    user = {"user_certificate": str(tmp_path / "user" / "opcua-own.der"), "user_key": str(tmp_path / "user" / "opcua-own-key.pem")}
    async with opcua_session(plant.url, {"counter": "Counter"}, **_secure(plant), **user) as session:
        await session.seen.until(lambda: session.seen.of("counter"))


async def test_a_server_that_does_not_trust_us_is_named_with_our_certificate(node_plant: Make, opcua_session: Make, tmp_path: Path) -> None:
    plant = node_plant(trust="strict", pki=tmp_path / "strict").start()
    async with opcua_session(plant.url, {"counter": "Counter"}, **_secure(plant)) as session:
        seen = session.seen
        await seen.until(lambda: "down" in seen.states(), 20)
        assert "make the server trust it" in seen.links[-1].reason
        own = tmp_path / "state" / "opcua-own.der"
        assert str(own) in seen.links[-1].reason
        shutil.copy(own, tmp_path / "strict" / "trusted" / "certs" / "agent.der")
        for rejected in (tmp_path / "strict" / "rejected").glob("*"):
            rejected.unlink()
        await seen.until(lambda: seen.of("counter"), 20)


async def test_a_missing_pin_is_reported_and_taken_up_when_it_is_there(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant().start()
    hidden = plant.certificate.with_suffix(".away")
    plant.certificate.rename(hidden)
    async with opcua_session(plant.url, {"counter": "Counter"}, **_secure(plant)) as session:
        await session.seen.until(lambda: "down" in session.seen.states())
        assert str(plant.certificate) in session.seen.links[-1].reason
        hidden.rename(plant.certificate)
        await session.seen.until(lambda: session.seen.of("counter"))
