"""Does every bundle say live, in the agent and over a real broker, to the digit what it says when it is judged?"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose import manifest
from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab import heard
from edge_agent.messages import Diagnosis
from tests.integration.conftest import free_port

from . import rows as played
from .live import diagnoses, end_ms, running, until
from .rows import ROOT, Rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

EVERY_MS = 20  # our time between two rows, whatever it was at the machine
HOP = 8  # rows from one window to the next: eight windows may wait, so a hiccup of this machine of a second loses none
FOLDERS = sorted(card.parent for card in (ROOT / "models").glob("*/card.yaml") if "\npicture:" not in card.read_text())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_live_it_says_what_it_says_when_it_is_judged(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundles.read(_hurried(folder, tmp_path / "models" / folder.name), dev=True)
    rows = played.of(bundles.read(folder, dev=True))
    _configure(tmp_path, bundle, rows)
    with _mosquitto(tmp_path) as port, running(tmp_path, PORT=f"mqtt://127.0.0.1:{port}") as page:
        until("the link", lambda: page()["connectors"]["bus"]["up"])
        first_ms = _play(tmp_path, port, rows)
        until("the last row", lambda: end_ms(page()) > first_ms + len(rows.values) * EVERY_MS)
    live = {round((d["end_ns"] / 1e6 - first_ms) / EVERY_MS): d for d in diagnoses(tmp_path)}  # by the row that a window ended with
    judged = _said_when_judged(bundle, rows, min(row for row in live if row >= bundle.card.window.rows - 1))
    assert set(live) >= set(judged)
    assert {d["status"] for row, d in live.items() if row < min(judged)} <= {"unknown"}, "from before the first row: no evidence"
    different = [
        f"row {row}: live {_short(live[row])}, judged {_short(asdict(judged[row]))}" for row in judged if not _alike(live[row], judged[row])
    ]
    assert not different, f"{len(different)} of {len(judged)} windows differ: {different[:3]}"
    ok = [d for d in judged.values() if d.status == "ok"]
    with capsys.disabled():
        print(f"\n{bundle.id} on {rows.source}: {len(live)} windows alike, {len(ok)} of them evidence")
    assert ok, "a test without a single answer shows nothing"


def _alike(live: Mapping[str, Any], judged: Diagnosis) -> bool:
    same = live["status"] == judged.status and live.get("label") == (judged.label or None)
    numbers = [(live.get(name), getattr(judged, name)) for name in ("score", "raw", "confidence", "novelty")]
    return same and all((a is None) == (b is None) and (a is None or abs(a - b) < 1e-5) for a, b in numbers)


def _short(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said.get(name) for name in ("status", "why", "label", "score", "raw", "confidence", "novelty")}


def _said_when_judged(bundle: Bundle, rows: Rows, first: int) -> dict[int, Diagnosis]:
    """The same rows through what `models evaluate` runs."""
    agent = heard.diagnoser(bundle, heard.LabRuntime(bundle, bundle.model), _scale(bundle, rows))
    channels, length = np.ascontiguousarray(rows.values.T), bundle.card.window.rows

    async def listen() -> dict[int, Diagnosis]:
        said = {}
        for seq, end in enumerate(range(first, channels.shape[1], HOP)):
            values = np.ascontiguousarray(channels[:, end - length + 1 : end + 1])
            window = heard.window_of(bundle, values, seq, end * EVERY_MS * 1_000_000, EVERY_MS * 1_000_000)
            said[end] = await agent.diagnose(window)
        return said

    return asyncio.run(listen())


def _scale(bundle: Bundle, rows: Rows) -> dict[str, tuple[float, float]]:
    from edge_agent import units

    pairs = zip(bundle.card.roles, rows.units, strict=True)
    return {role.role: units.factor(unit, role.unit) for role, unit in pairs if unit and role.unit}


# ---------------------------------------------------------------- the stage


def _hurried(source: Path, into: Path) -> Path:
    """The bundle as it is shipped, its rows as far apart as ours."""
    shutil.copytree(source, into, ignore=shutil.ignore_patterns("*.py", "__pycache__", "manifest.sig"))
    card = yaml.safe_load((into / "card.yaml").read_text())
    card["window"]["every"] = f"{EVERY_MS} ms"
    (into / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    listed = manifest.parse((into / "manifest.json").read_bytes())
    files = {name: (into / name).read_bytes() for name in listed.files}
    (into / "manifest.json").write_bytes(manifest.build(listed.name, listed.version, files))
    return into


def _configure(folder: Path, bundle: Bundle, rows: Rows) -> None:
    """Each role a tag of its own, all in one message a row; every window is kept."""
    names = [role.role for role in bundle.card.roles]
    tags = {}
    for i, (name, unit) in enumerate(zip(names, rows.units, strict=True)):
        decode = {"type": "json", "path": f"v[{i}]", "time": "t", "time_format": "ms"}
        tags[name] = {"from": "bus", "topic": "machine", "decode": decode, **({"unit": unit} if unit else {})}
    perceive = {"tags": names, "every": f"{EVERY_MS} ms", "window": bundle.card.window.rows, "hop": HOP, "max_gap": "1 s", "settle": "5 s"}
    keep = {"alarms": None, "novel": False, "drifting": False, "random": "100%", "per_day": 100_000}
    states = {"quiet": [{"when": "score > 2", "go": "loud"}], "loud": [{"when": "score < 2", "go": "quiet"}]}
    loop = {
        "perceive": perceive, "diagnose": {"model": bundle.card.name}, "decide": {"policy": "rules", "states": states},
        "feedback": {"keep": keep, "label_outcomes": False},
    }  # fmt: skip
    config = {
        "version": 1, "agent": {"name": "live", "owner": "acme"}, "models": {"unsigned": True},
        "connectors": {"bus": {"type": "mqtt", "url": "PORT"}}, "tags": tags, "loops": {"machine": loop},
    }  # fmt: skip
    (folder / "live.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


@contextmanager
def _mosquitto(folder: Path) -> Iterator[int]:
    port = free_port()
    (folder / "mosquitto.conf").write_text(f"user root\nallow_anonymous true\nlistener {port} 127.0.0.1\n")
    with (folder / "mosquitto.log").open("wb") as log:
        broker = subprocess.Popen(["mosquitto", "-c", folder / "mosquitto.conf"], stdout=log, stderr=log)
    try:
        yield port
    finally:
        broker.kill()
        broker.wait(10)


def _play(folder: Path, port: int, rows: Rows) -> int:
    """Publish each row at its time through mosquitto_pub; the source time of the first, in ms since 1970."""
    command = ["stdbuf", "-oL", "mosquitto_pub", "-d", "-h", "127.0.0.1", "-p", str(port), "-t", "machine", "-q", "1", "-l"]
    said = folder / "sensor.log"
    with said.open("wb") as log:
        sensor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, text=True, bufsize=1)
    assert sensor.stdin
    until("the sensor's connection", lambda: b"CONNACK" in said.read_bytes())
    first_ms = (int(time.time() * 1000) // EVERY_MS + 25) * EVERY_MS
    for i, values in enumerate(rows.values.tolist()):
        at_ms = first_ms + i * EVERY_MS
        time.sleep(max(0.0, at_ms / 1000 - time.time()))
        sensor.stdin.write(json.dumps({"t": at_ms, "v": values}) + "\n")
    sensor.stdin.close()
    assert sensor.wait(20) == 0
    return first_ms
