"""What may stand in the YAML of an OPC UA connector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.opcua import Config, Connector, Tag
from edge_agent.clock import ManualClock
from edge_agent.contracts import Setup

_SECURE = {"policy": "Basic256Sha256", "mode": "SignAndEncrypt", "trust": "plc.der"}


def config(**more: Any) -> Config:
    return Config.model_validate({"type": "opcua", "url": "opc.tcp://10.0.0.5:4840", **more})


def tag(**more: Any) -> Tag:
    return Tag.model_validate({"from": "plc", **more})


def test_the_shortest_configuration_is_an_address() -> None:
    assert config().security.policy == "None"


def test_a_secure_one_with_a_password_is_taken_and_the_password_stays_hidden() -> None:
    made = config(security=_SECURE, user="agent", password="hunter2")
    assert "hunter2" not in repr(made)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"security": {"policy": "Basic256Sha256"}}, "would believe any server"),
        ({"security": {"policy": "Basic256Sha256", "mode": "Sign"}}, "would believe any server"),
        ({"security": {"mode": "SignAndEncrypt", "trust": "x"}}, "name a policy"),
        ({"security": {**_SECURE, "key": "k.pem"}}, "certificate and key belong together"),
        ({"security": {**_SECURE, "policy": "Basic128Rsa15"}}, "Basic256Sha256"),
        ({"user": "a", "password": "hunter2"}, "travel in clear"),
        ({"user_certificate": "a", "user_key": "b"}, "travel in clear"),
        ({"security": _SECURE, "user": "a"}, "belong together"),
        ({"security": _SECURE, "password": "hunter2"}, "belong together"),
        ({"security": _SECURE, "user": "a", "password": "hunter2", "user_certificate": "c", "user_key": "k"}, "not with both"),
        ({"url": "http://10.0.0.5"}, "opc.tcp://10.0.0.5:4840"),
        ({"url": "opc.tcp://agent:hunter2@10.0.0.5:4840"}, "ends up in logs"),
        ({"publish": "10 s"}, "not longer than `keep_alive`"),
        ({"publish": "0 s"}, "above 0"),
        ({"outage": "0 s"}, "above 0"),
    ],
)
def test_what_is_unsafe_or_half_said_is_refused_in_plain_words(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as e:
        config(**more)
    assert message in str(e.value)
    assert "hunter2" not in str(e.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "needs `node`"),
        ({"node": "P1.Flow"}, "nsu=urn:plant;s=P1.Flow"),
        ({"node": "nsu=urn:plant;s=A", "dead_band": 0}, "no dead band"),
        ({"node": "nsu=urn:plant;s=A", "dead_band": True}, "no dead band"),
        ({"node": "nsu=urn:plant;s=A", "index": 1, "write": True}, "cannot be written"),
        ({"method": {"object": "i=85", "method": "here"}}, "no node address"),
    ],
)
def test_a_tag_that_leads_nowhere_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as e:
        tag(**more)
    assert message in str(e.value)


def test_dead_bands_are_absolute_or_a_share() -> None:
    assert tag(node="i=1", dead_band=0.5).dead_band == ("absolute", 0.5)
    assert tag(node="i=1", dead_band="1.5 %").dead_band == ("percent", 1.5)


def test_the_schema_can_be_written() -> None:
    assert "properties" in Config.model_json_schema()
    assert "properties" in Tag.model_json_schema()


def test_a_connector_is_made_without_heavy_imports_and_says_that_it_has_not_begun(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import connectors.opcua, sys; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    made = Connector(config(), {"flow": tag(node="i=1")}, Setup(name="plc", clock=ManualClock(), state=tmp_path, agent="a"))
    assert made.status()["link"] == "down"
    assert list(tmp_path.iterdir()) == []
