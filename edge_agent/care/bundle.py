"""What does somebody need who helps from afar? One archive without secrets, and without measured values unless asked for."""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from edge_agent import __version__, control, places
from edge_agent.care import security
from edge_agent.clock import Clock
from edge_agent.config import effective
from edge_agent.config.load import Configuration
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Reader
from edge_agent.feedback.verify import verify

_MASK = "**********"
_LOG_LINES = 2000
_STORED = 20  # records without values
_WAIT_S = 20.0


def pack(configuration: Configuration, into: Path, clock: Clock, *, payloads: int = 0) -> list[str]:
    """Write the archive, for the owner only; the names of its files. A part that cannot be had says why in its place."""
    made = {name: _tried(make) for name, make in _parts(configuration, payloads).items()}
    secrets = sorted(_secrets(configuration), key=len, reverse=True)
    with into.open("xb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        into.chmod(0o600)
        for name, text in made.items():
            data = _without(text, secrets).encode()
            entry = tarfile.TarInfo(f"edge-agent-{configuration.file.agent.name}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, clock.wall_ns() // 1_000_000_000
            archive.addfile(entry, io.BytesIO(data))
    return list(made)


def _parts(configuration: Configuration, payloads: int) -> dict[str, Callable[[], str]]:
    agent = configuration.file.agent
    ledger = places.ledger(agent)
    parts: dict[str, Callable[[], str]] = {
        "versions.json": lambda: _json(_versions()),
        "configuration.yaml": lambda: effective.text(configuration),
        "warnings.txt": lambda: "\n".join(map(str, configuration.warnings)),
        "security.json": lambda: _json(security.told(security.report(configuration))),
        "status.json": lambda: _json(_no_values(control.ask(places.socket(agent), {"do": "status"}, _WAIT_S))),
        "ledger.json": lambda: _json({"ok": (seen := verify(ledger)).ok, **asdict(seen)}),
        "records.jsonl": lambda: "\n".join(_records(ledger, _STORED, values=False)),
        "disk.json": lambda: _json(_disk(places.state(agent))),
        "log.txt": lambda: _log(configuration),
    }
    if payloads:
        parts["payloads.jsonl"] = lambda: "\n".join(_records(ledger, payloads, values=True))
    return parts


def _tried(make: Callable[[], str]) -> str:
    try:
        return make()
    except (EdgeAgentError, OSError, subprocess.SubprocessError) as e:
        return f"could not be had: {e}\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str)


def _versions() -> dict[str, Any]:
    names = sorted({str(found.metadata["Name"]) for found in importlib.metadata.distributions()})
    return {
        "edge-agent": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: importlib.metadata.version(name) for name in names},
    }


def _no_values(status: dict[str, Any]) -> dict[str, Any]:
    """What the plant measures stays there: of each tag its quality and age only."""
    tags = status.get("tags")
    if isinstance(tags, dict):
        status["tags"] = {name: {k: v for k, v in dict(tag).items() if k != "value"} for name, tag in tags.items()}
    return status


def _records(ledger: Path, newest: int, *, values: bool) -> Iterator[str]:
    with Reader(ledger) as reader:
        for record in reversed(reader.newest(newest)):
            said = asdict(record)
            yield json.dumps(said if values else {k: v for k, v in said.items() if k not in ("payload", "blobs")}, default=str)


def _disk(state: Path) -> dict[str, Any]:
    usage = shutil.disk_usage(state)
    sizes = {str(file.relative_to(state)): file.stat().st_size for file in sorted(state.rglob("*"))[:2000] if file.is_file()}
    return {"total": usage.total, "free": usage.free, "files": sizes}


def _log(configuration: Configuration) -> str:
    if shutil.which("journalctl") is None:
        return "there is no journalctl on this machine; send the agent's standard error\n"
    name = configuration.path.stem if configuration.path else configuration.file.agent.name
    command = ["journalctl", "--no-pager", "-n", str(_LOG_LINES), "-u", f"edge-agent@{name}", "-u", f"edge-agent-api@{name}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_WAIT_S, check=False)  # noqa: S603
    return done.stdout + done.stderr


def _secrets(configuration: Configuration) -> set[str]:
    """Every secret that the configuration holds, as it is."""
    models: list[BaseModel] = [configuration.file, *configuration.connectors.values(), *configuration.tags.values()]
    return {secret for model in models for secret in _held(model) if secret}


def _held(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _held(getattr(value, name))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _held(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _held(inner)


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text
