"""Who is measured in the MQTT bench? Ours, the floor, and the peers; each hears plant/NAME/x and commands on plant/NAME/set."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import model
from bench.agent import HOME, Running, end, running
from bench.measure import cpu_s, family, rss_mb
from edge_agent.lifecycle import sign

ROWS = 64
_CONFIG = """
version: 1
agent: {{name: {name}, owner: bench, state: {state}}}
models: {{trust: {keys}}}
connectors:
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", version: "3.1.1"}}
tags:
  x: {{from: bus, topic: plant/{name}/x, qos: {qos}, range: [0, 50], record: {record}, decode: {{type: json, path: v, time: t, time_format: ns}}}}
  sw: {{from: bus, topic: plant/{name}/sw, qos: 0, decode: {{type: json, path: v}}, write: true, publish: {{topic: plant/{name}/set, key: v}}}}
loops:
  p1:
    mode: armed
    tier: 1
    perceive: {{tags: [x], follow: x, window: {rows}, hop: {hop}}}
    diagnose: {{model: {bundle}}}
    decide:
      policy: rules
      states: {{low: [{{when: "x > 10 and score < 2", go: high}}], high: [{{when: "x < 10 and score < 2", go: low}}]}}
      actions: {{low: {{set: {{sw: 0}}}}, high: {{set: {{sw: 1}}}}}}
    execute:
      sw: {{limits: [0, 1], step: 1, max_step: 1, min_interval: 0 s, per_hour: 1000000, reversals_per_hour: 1000000, verify: {{within: 2 s}}}}
    feedback: {{keep: {{per_day: 100}}}}
"""


@dataclass(slots=True)
class Contender:
    """Something that runs and answers."""

    name: str
    what: str  # for the table
    pid: int
    agent: Running | None = None
    start_s: float = float("nan")
    found: dict[str, list[float]] = field(default_factory=dict)

    def cpu_s(self) -> float:
        return cpu_s(family(self.pid))

    def rss_mb(self) -> float:
        return rss_mb(family(self.pid))


@dataclass(frozen=True, slots=True)
class Made:
    """A signed bundle, the keys that vouch for it."""

    bundle: Path
    keys: Path


def bundle(folder: Path, rows: int = ROWS) -> Made:
    """The model of one channel that ours and the floor run, signed."""
    made = Made(model.write(folder / "model", channels=1, rows=rows), folder / "keys")
    secret, _, _ = sign.keygen(made.keys, "bench")
    sign.sign(made.bundle, secret)
    return made


@contextlib.contextmanager
def ours(
    folder: Path,
    port: int,
    made: Made,
    *,
    name: str = "ours",
    hop: int = 16,
    qos: int = 0,
    record: bool = False,
    cores: set[int] | None = None,
) -> Iterator[Contender]:
    """The whole agent; not armed yet (`arm`)."""
    config = folder / f"{name}.yaml"
    config.write_text(
        _CONFIG.format(
            name=name,
            state=folder / name,
            keys=made.keys,
            port=port,
            qos=qos,
            record=str(record).lower(),
            rows=ROWS,
            hop=hop,
            bundle=made.bundle,
        )
    )
    with running(config, cores=cores) as agent:
        yield Contender(name, "edge-agent", agent.process.pid, agent, agent.start_s)


def arm(agent: Running) -> None:
    """Let it write. RuntimeError with what is in the way."""
    reply = agent.ask("arm", "p1", "--reason", "bench", "--for", "2h")
    if reply["mode"] != "armed":
        raise RuntimeError(f"not armed: {reply}")


@contextlib.contextmanager
def floor(
    folder: Path, port: int, made: Made, *, name: str = "floor", hop: int = 16, intents: bool = False, cores: set[int] | None = None
) -> Iterator[Contender]:
    """The script by hand."""
    spec = folder / f"{name}.json"
    wanted = {"port": port, "name": name, "model": str(made.bundle / "model.onnx"), "rows": ROWS, "hop": hop}
    spec.write_text(json.dumps({**wanted, "intents": str(folder / f"{name}.db") if intents else ""}))
    with started([sys.executable, "-m", "bench.floor_mqtt", str(spec)], cores=cores, says=b"READY") as process:
        yield Contender(name, "paho + ORT by hand" + (", with the intent on disk" if intents else ""), process.pid)


@contextlib.contextmanager
def started(
    command: list[str],
    *,
    cores: set[int] | None = None,
    says: bytes = b"",
    cwd: Path = HOME,
    environment: dict[str, str] | None = None,
    within_s: float = 30,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, until the block ends; waits until a line of its output holds `says`."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE if says else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    try:
        if says:
            _await_words(process, says, within_s)
        yield process
    finally:
        end(process)


def _await_words(process: subprocess.Popen[bytes], says: bytes, within_s: float) -> None:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    heard, deadline = b"", time.monotonic() + within_s
    while says not in heard:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not say {says!r}: {heard[-500:]!r}")
        heard += process.stdout.read() or b""
        time.sleep(0.02)


Maker = Callable[[], contextlib.AbstractContextManager[Contender]]


def together(stack: contextlib.ExitStack, makers: dict[str, Maker]) -> tuple[list[Contender], dict[str, str]]:
    """All that can be started, and why the others cannot."""
    there: list[Contender] = []
    failed: dict[str, str] = {}
    for name, make in makers.items():
        try:
            there.append(stack.enter_context(make()))
        except Exception as e:  # noqa: BLE001 (a peer that does not run here is a line in the report)
            failed[name] = f"{type(e).__name__}: {str(e)[:200]}"
    return there, failed


def answer_times(flipped: list[int], answers: list[int]) -> tuple[list[float], int]:
    """Milliseconds from each flip to the first answer before the next flip, and how many flips got none."""
    found, missing = [], 0
    for i, at in enumerate(flipped):
        until = flipped[i + 1] if i + 1 < len(flipped) else 1 << 63
        first = next((a for a in answers if at <= a < until), None)
        if first is None:
            missing += 1
        else:
            found.append((first - at) / 1e6)
    return found, missing


def load(file: Path) -> Any:
    return json.loads(file.read_text())
