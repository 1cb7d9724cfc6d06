"""Secrets come from files, and are shown to nobody."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.config import effective
from edge_agent.config.load import Configuration, parse
from edge_agent.errors import ConfigError

HIDDEN = "correct-horse-battery"


@pytest.fixture
def text(good: str) -> str:
    bus = "user: u, password: !secret bus_pw, url: !env BUS_URL"
    return good.replace('url: "mqtt://127.0.0.1:1883"', bus)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    file = tmp_path / "secrets" / "bus_pw"
    file.write_text(HIDDEN + "\n")
    file.chmod(0o600)
    return tmp_path


def _read(text: str, folder: Path, **environment: str) -> Configuration:
    return parse(text, str(folder / "plant.yaml"), folder=folder, environment={"BUS_URL": "mqtt://127.0.0.1:1884"} | environment)


def test_a_secret_comes_from_the_folder_beside_the_file(text: str, folder: Path) -> None:
    bus = _read(text, folder).connectors["bus"]
    assert bus.password.get_secret_value() == HIDDEN  # type: ignore[attr-defined]
    assert bus.url == "mqtt://127.0.0.1:1884"  # type: ignore[attr-defined]


def test_systemds_credentials_come_first_whatever_their_mode(text: str, folder: Path, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "bus_pw").write_text("another-one")
    (credentials / "bus_pw").chmod(0o440)
    bus = _read(text, folder, CREDENTIALS_DIRECTORY=str(credentials)).connectors["bus"]
    assert bus.password.get_secret_value() == "another-one"  # type: ignore[attr-defined]


def test_a_folder_of_secrets_that_systemd_loaded_is_found_under_its_names(text: str, folder: Path, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "secrets_bus_pw").write_text("another-one")
    bus = _read(text, folder, CREDENTIALS_DIRECTORY=str(credentials)).connectors["bus"]
    assert bus.password.get_secret_value() == "another-one"  # type: ignore[attr-defined]


def test_nothing_shows_a_secret(text: str, folder: Path) -> None:
    configuration = _read(text, folder)
    shown = [
        repr(configuration),
        str(configuration.connectors),
        repr(configuration.file),
        effective.text(configuration),
        configuration.hash,
    ]
    shown.append(json.dumps(effective.values(configuration)))
    assert not any(HIDDEN in each for each in shown)
    assert "password: !secret bus_pw" in effective.text(configuration)
    assert "url: !env BUS_URL" in effective.text(configuration)


def test_another_secret_does_not_change_the_hash_another_address_does(text: str, folder: Path) -> None:
    first = _read(text, folder).hash
    (folder / "secrets" / "bus_pw").write_text("changed")
    assert _read(text, folder).hash == first
    assert _read(text, folder, BUS_URL="mqtt://127.0.0.1:9").hash != first


def test_a_secret_that_others_may_read_is_refused(text: str, folder: Path) -> None:
    (folder / "secrets" / "bus_pw").chmod(0o640)
    with pytest.raises(ConfigError, match=r"may be read by others .*chmod 600"):
        _read(text, folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\xff\xfe", "is not text"), (b"x" * 70_000, "larger than 64 KiB")],
    ids=["empty", "binary", "large"],
)
def test_a_file_that_is_no_secret_is_refused(content: bytes, said: str, text: str, folder: Path) -> None:
    (folder / "secrets" / "bus_pw").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        _read(text, folder)


def test_a_folder_or_a_pipe_in_place_of_a_secret_is_refused_at_once(text: str, folder: Path) -> None:
    import os

    file = folder / "secrets" / "bus_pw"
    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(ConfigError, match="is not a file"):
        _read(text, folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", ".hidden", "''", "[a]"])
def test_a_secrets_name_cannot_leave_the_folder(name: str, text: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs a name|is no name"):
        _read(text.replace("!secret bus_pw", f"!secret {name}"), folder)


def test_a_secret_where_it_would_be_shown_is_refused(text: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(text.replace("user: u", "user: !secret bus_pw"), folder)
    assert [(p.path, p.what) for p in caught.value.problems] == [
        ("connectors.bus.user", "a secret may not stand here: it would be shown in status and logs")
    ]


def test_an_error_about_a_secret_does_not_tell_it(text: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(text.replace("url: !env BUS_URL", "url: !secret bus_pw"), folder)
    assert "connectors.bus.url" in str(caught.value)
    assert HIDDEN not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        _read(text, folder, BUS_URL="http://wrong-scheme")
    assert "http://wrong-scheme" not in str(caught.value)
    assert "!env BUS_URL does not fit here" in str(caught.value)


def test_a_password_that_would_travel_readable_is_told_without_it(text: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(text, folder, BUS_URL="mqtt://10.0.0.6:1883")
    assert HIDDEN not in str(caught.value)


def test_without_secrets_everything_else_is_still_judged(text: str, loaded: Callable[..., Configuration]) -> None:
    assert loaded(text, resolve_secrets=False).file.agent.name == "l2-ipc1"
    with pytest.raises(ConfigError, match="max_ag"):
        loaded(text.replace("max_age", "max_ag"), resolve_secrets=False)


def test_who_needs_no_secret_may_still_ask_for_the_environment(text: str, loaded: Callable[..., Configuration]) -> None:
    with pytest.raises(ConfigError, match="BUS_URL is not set"):
        loaded(text, resolve_secrets=False, resolve_environment=True)


def test_a_template_may_name_a_secret(good: str, folder: Path) -> None:
    text = good + (
        "templates:\n"
        "  broker:\n"
        "    params: [id]\n"
        "    connectors:\n"
        '      "${id}": {type: mqtt, url: "mqtt://127.0.0.1:1", user: u, password: !secret "${id}_pw"}\n'
        "use: [{template: broker, each: {id: [b1, b2]}}]\n"
    )
    for name in ("b1_pw", "b2_pw"):
        (folder / "secrets" / name).write_text(name)
        (folder / "secrets" / name).chmod(0o600)
    assert _read(text, folder).connectors["b2"].password.get_secret_value() == "b2_pw"  # type: ignore[attr-defined]


def test_what_cannot_be_judged_without_the_environment_is_said(good: str) -> None:
    with pytest.raises(ConfigError, match="cannot be judged without what stands behind"):
        parse(good + "api: {port: !env PORT}\n", resolve_secrets=False)
