"""What administrators get: a firewall of the configuration, a report on safety, an archive without secrets."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.care import peers
from edge_agent.cli import root
from edge_agent.clock import SystemClock
from edge_agent.config.load import load
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.ledger import Ledger, Line

SECRET = "a-plc-password-nobody-may-see"
TOKEN = "0123456789abcdef0123456789abcdef"
CONFIG = """\
version: 1
agent: {name: a1, owner: acme, state: STATE}
connectors:
  plc: {type: opcua, url: "opc.tcp://10.0.0.5:4840", security: {policy: Basic256Sha256, trust: plc.der}, user: agent, password: !secret plc}
  bus: {type: mqtt, url: "mqtt://broker.plant.example"}
  here: {type: mqtt, url: "mqtts://127.0.0.1:8883"}
tags: {flow: {from: plc, node: "nsu=urn:plant;s=Flow"}, level: {from: bus, topic: a}, other: {from: here, topic: b}}
ledger: {min_free: 1 B}
api: {tokens: [{name: pool, token: !secret token}]}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name, text in (("plc", SECRET), ("token", TOKEN)):
        (tmp_path / "secrets" / name).touch(mode=0o600)
        (tmp_path / "secrets" / name).write_text(text)
    (tmp_path / "state").mkdir(mode=0o750)
    file = tmp_path / "a1.yaml"
    file.write_text(CONFIG.replace("STATE", str(tmp_path / "state")))
    file.chmod(0o640)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, [str(each) for each in arguments])


# ---------------------------------------------------------------- the configuration is the firewall


def test_every_configured_peer_may_be_reached_and_nobody_else(config: Path, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# x\nnameserver 10.9.9.9\nnameserver 127.0.0.53\n")
    asked: list[str] = []

    def look(host: str) -> list[str]:
        asked.append(host)
        return ["10.0.0.6", "fd00::6"]

    text = peers.dropin(load(config), look=look, resolvers=tmp_path / "resolv.conf")
    allowed = [line.partition("=")[2] for line in text.splitlines() if line.startswith("IPAddressAllow=")]
    assert allowed == ["", "localhost", "10.0.0.5", "10.0.0.6", "fd00::6", "10.9.9.9"]
    assert text.splitlines().index("IPAddressDeny=any") < text.splitlines().index("IPAddressAllow=localhost")
    assert asked == ["broker.plant.example"]


def test_with_addresses_only_no_resolver_is_reached(config: Path) -> None:
    config.write_text(config.read_text().replace("broker.plant.example", "[fd00::7]:1883"))
    text = run("systemd-dropin", config).output
    assert "IPAddressAllow=fd00::7" in text
    assert "names" not in text


def test_a_name_without_an_address_is_said() -> None:
    with pytest.raises(EdgeAgentError, match="no address"):
        peers.addresses("nobody.invalid")


def test_the_callers_of_the_api_may_call(config: Path) -> None:
    assert "IPAddressAllow=10.1.0.0/16\n" in run("systemd-dropin", config, "--callers", "10.1.2.3/16").output
    assert isinstance(run("systemd-dropin", config, "--callers", "everybody").exception, EdgeAgentError)


@pytest.mark.integration
def test_systemd_takes_the_dropin(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("broker.plant.example", "10.0.0.9"))
    unit = tmp_path / "x.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "x.service.d").mkdir()
    (tmp_path / "x.service.d" / "peers.conf").write_text(run("systemd-dropin", config).output)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""


# ---------------------------------------------------------------- the report


def points(config: Path) -> dict[str, str]:
    said = json.loads(run("security-report", config, "--json").output)
    return {f"{point['topic']} {point['what']}": point["verdict"] for point in said["points"]}


def test_what_is_well_is_said_and_what_is_open_is_noted(config: Path) -> None:
    found = points(config)
    assert found["link plc"] == "good"
    assert found["link bus"] == "note"
    assert found["api pool"] == "good"
    assert found["process telemetry"] == "good"
    assert run("security-report", config).exit_code == 0


Change = Callable[[Path], object]
BAD: dict[str, Change] = {
    "api pool": lambda config: (config.parent / "secrets" / "token").write_text("short"),
    "file {config}": lambda config: config.chmod(0o666),
    "file {state}": lambda config: (config.parent / "state").chmod(0o777),
    "file {secrets}": lambda config: (config.parent / "secrets").chmod(0o755),
    "api address": lambda config: config.write_text(config.read_text().replace("api: {", "api: {host: 10.0.0.1, unsecured: true, ")),
}


@pytest.mark.parametrize("what", BAD)
def test_each_bad_thing_is_found_and_has_a_cure(config: Path, what: str) -> None:
    BAD[what](config)
    name = what.format(config=config, state=config.parent / "state", secrets=config.parent / "secrets")
    assert points(config)[name] == "bad"
    done = run("security-report", config)
    assert done.exit_code == 1
    assert "-> " in done.output


# ---------------------------------------------------------------- the archive


@pytest.fixture
def recorded(config: Path) -> Path:
    """A ledger in which somebody wrote the password, and a value."""
    ledger = Ledger.of(load(config).file, SystemClock())
    ledger.start()
    ledger.append_many([Line("agent", {"event": f"login {SECRET}"}), Line("sample", {"tag": "flow", "value": 31.4159, "source_ns": 1})])
    ledger.close()
    return config


def unpacked(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return {member.name.partition("/")[2]: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]


def test_the_archive_holds_what_helps_and_no_secret_and_no_value(recorded: Path, tmp_path: Path) -> None:
    archive = tmp_path / "out.tar.gz"
    done = run("bundle-support", recorded, "--into", archive)
    assert done.exit_code == 0, done.output
    files = unpacked(archive)
    assert set(files) >= {"versions.json", "configuration.yaml", "status.json", "ledger.json", "log.txt", "security.json", "records.jsonl"}
    assert json.loads(files["ledger.json"])["ok"]
    assert "edge-agent" in json.loads(files["versions.json"])
    assert "could not be had" in files["status.json"]  # no agent runs: said in its place
    whole = "\n".join(files.values())
    assert SECRET not in whole
    assert TOKEN not in whole
    assert "31.4159" not in whole
    assert "!secret plc" in files["configuration.yaml"]
    assert archive.stat().st_mode & 0o777 == 0o600


def test_payloads_come_when_asked_for_and_still_without_secrets(recorded: Path, tmp_path: Path) -> None:
    archive = tmp_path / "out.tar.gz"
    run("bundle-support", recorded, "--into", archive, "--payloads", 10)
    payloads = unpacked(archive)["payloads.jsonl"]
    assert "31.4159" in payloads
    assert "login **********" in payloads


def test_an_archive_is_never_overwritten(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar.gz").touch()
    assert isinstance(run("bundle-support", recorded, "--into", tmp_path / "out.tar.gz").exception, EdgeAgentError)
