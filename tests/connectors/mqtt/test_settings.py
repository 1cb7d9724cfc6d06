from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.mqtt import Config, Tag
from edge_agent.mqtt.paths import MISSING, getter, parse


def config(**keys: Any) -> Config:
    return Config.model_validate({"type": "mqtt", "url": "mqtts://10.0.0.6", **keys})


def tag(**keys: Any) -> Tag:
    return Tag.model_validate({"from": "bus", **keys})


def test_ports_follow_the_scheme() -> None:
    assert (config().port, config(url="mqtt://b").port, config(url="mqtt://b:1884").port) == (8883, 1883, 1884)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "http://b"}, "pattern"),
        ({"url": "mqtt://u:p@b"}, "do not belong in the URL"),
        ({"url": "mqtt://"}, "not understood"),
        ({"url": "mqtt://b/topic"}, "not understood"),
        ({"url": "mqtt://b:99999"}, "out of range"),
        ({"url": "mqtt://10.0.0.6", "user": "u", "password": "p"}, "would travel readable"),
        ({"password": "p"}, "needs a user"),
        ({"url": "mqtt://b", "tls": {"ca": "ca.pem"}}, "needs mqtts"),
        ({"tls": {"certificate": "c.pem"}}, "belong together"),
        ({"version": 4}, "5"),
        ({"keep_alive": "0 s"}, "MQTT allows"),
        ({"keepalive": "5 s"}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_a_configuration_error(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        config(**keys)


@pytest.mark.parametrize("url", ["mqtts://10.0.0.6", "mqtt://127.0.0.1", "mqtt://localhost", "mqtt://[::1]:1883"])
def test_a_password_may_travel_encrypted_or_on_this_machine(url: str) -> None:
    assert config(url=url, user="u", password="p").user == "u"


def test_the_password_does_not_show() -> None:
    assert "geheim" not in repr(config(user="u", password="geheim"))


def test_relative_files_start_at_the_configurations_folder() -> None:
    assert config(tls={"ca": "ca.pem"}).at_home(Path("/etc/plant")).tls.ca == "/etc/plant/ca.pem"
    assert config(tls={"ca": "/ca.pem"}).at_home(Path("/etc/plant")).tls.ca == "/ca.pem"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "topic"),
        ({"topic": "a/b+/c"}, "whole level"),
        ({"topic": "a/#/c"}, "whole level"),
        ({"topic": "a", "write": True}, "needs `publish:`"),
        ({"publish": {"topic": "a/+"}}, "one topic"),
        ({"publish": {"topic": "a", "key": "v", "template": "$value"}}, "exclude"),
        ({"publish": {"topic": "a", "template": "{}"}}, "no \\$value"),
        ({"publish": {"topic": "a", "retain": True}}, "Extra inputs"),
        ({"publish": {"topic": "a", "envelope": {"sign": "short"}}}, "can be guessed"),
        ({"publish": {"topic": "a", "envelope": {"sign": "x" * 64, "algorithm": "ed25519"}}}, "32 bytes"),
        ({"topic": "a", "decode": {"type": "number", "path": "v"}}, "type: json"),
        ({"topic": "a", "decode": {"type": "json", "path": "a..b"}}, "not understood"),
        ({"topic": "a", "decode": {"type": "json", "path": "a[x]"}}, "not understood"),
        ({"topic": "a", "decode": {"type": "number", "reduce": "rms"}}, "waveform"),
        ({"topic": "a", "qos": 2}, "0 or 1"),
    ],
)
def test_a_tag_that_cannot_work_is_a_configuration_error(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tag(**keys)


def test_paths_lead_to_keys_places_and_odd_names() -> None:
    assert parse('a.b[0]["odd.key"].c') == ("a", "b", 0, "odd.key", "c")
    doc = {"a": {"b": [{"odd.key": {"c": 5}}]}}
    assert getter('a.b[0]["odd.key"].c')(doc) == 5
    assert getter("[1]")([1, 2]) == 2
    assert getter(None)(doc) is doc
    assert getter("a.b[7]")(doc) is MISSING
