"""A whole agent to do harm to: configuration, signed model, control process (acking_agent.py) and API, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from acking_agent import ACK, LIFE

from edge_agent import control
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.lifecycle import sign

HERE, SOURCE = Path(__file__).parent, Path(__file__).parents[3]

CONFIG = """\
version: 1
agent: {name: a1, owner: acme, state: STATE}
models: {trust: FOLDER/keys}
ledger: {min_free: MIN_FREE}
connectors: {plant: {type: sim, every: EVERY}}
tags:
  count: {from: plant, record: true}
  flow: {from: plant, unit: l/min, range: [0, 60], mean: 36.3, noise: 0.5, record: true}
  pressure_in: {from: plant, unit: bar, range: [-1, 3], mean: -0.018, noise: 0.018}
  pressure_out: {from: plant, unit: bar, range: [-1, 4], mean: 1.36, noise: 0.032}
  current: {from: plant, unit: A, range: [0, 2], mean: 0.693, noise: 0.0077}
  vibration: {from: plant, unit: m/s2, range: [0, 100], mean: 0.894, noise: 0.093, record: true}
  speed: {from: plant, unit: rpm, range: [0, 3600], mean: 2736, noise: 11.8}
  trim: {from: plant, unit: rpm, range: [-400, 400], write: true, limits: [-400, 400]}
  lease: {from: plant, write: true}
loops:
  pump:
    mode: armed
    tier: 1
    perceive: {tags: [flow, pressure_in, pressure_out, current, vibration, speed], every: 500 ms, window: 16, hop: HOP, max_gap: 2 s}
    diagnose: {model: FOLDER/models/demo-pump, timeout: 2 s}
    decide:
      policy: rules
      states: {normal: [{when: "score >= 0", go: relief}], relief: [{when: "score > 2", go: normal}]}
      actions: {relief: {trim: {trim: -100}}}
    execute:
      trim:
        limits: [-300, 300]
        step: 10
        rate: 100/s
        min_interval: 1 s
        per_hour: 1000
        lease: {tag: lease, every: 500 ms}
    feedback: {keep: {random: 100%, near_threshold: 1.0}}
api:
  tokens: [{name: pool, token: !secret pool, may: [read, label]}]
"""


class WholeAgent:
    """`state` may lie on a disk of its own; everything else is in `folder`."""

    def __init__(self, folder: Path, *, state: Path | None = None, every: str = "20 ms", hop: int = 1, min_free: str = "1 B") -> None:
        self.folder, self.state, self.acks = folder, state or folder / "state", folder / "acks"
        self.config, self.life = folder / "a1.yaml", 0
        self.control: subprocess.Popen[bytes] | None = None
        self.api: subprocess.Popen[bytes] | None = None
        self.environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder / "secrets")}
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self._log: IO[bytes] = (folder / "log").open("ab", buffering=0)
        shutil.copytree(
            SOURCE / "models" / "demo-pump", folder / "models" / "demo-pump", ignore=shutil.ignore_patterns("*.py", "__pycache__")
        )
        secret, _, _ = sign.keygen(folder / "keys", "acme")
        sign.sign(folder / "models" / "demo-pump", secret)
        (folder / "secrets").mkdir(mode=0o700)
        (folder / "secrets" / "pool").touch(mode=0o600)
        (folder / "secrets" / "pool").write_text("secret")
        known = {"STATE": self.state, "FOLDER": folder, "MIN_FREE": min_free, "EVERY": every, "HOP": hop}
        text = CONFIG
        for name, value in known.items():
            text = text.replace(name, str(value))
        self.config.write_text(text)

    # ------------------------------------------------------------ processes

    def start_control(self, *options: str, preload: dict[str, str] | None = None) -> None:
        """A new life of the control process."""
        self.life += 1
        command = [sys.executable, HERE / "acking_agent.py", self.acks, str(self.life), *options, "run", self.config]
        self.control = subprocess.Popen(command, env={**self.environment, **(preload or {})}, stdout=self._log, stderr=self._log)

    def start_api(self) -> None:
        command = [sys.executable, "-m", "edge_agent", "serve", self.config, "--port", str(self.port)]
        self.api = subprocess.Popen(command, env=self.environment, stdout=self._log, stderr=self._log)

    def workers(self) -> list[int]:
        """The children of the control process."""
        assert self.control is not None
        try:
            return [int(pid) for pid in Path(f"/proc/{self.control.pid}/task/{self.control.pid}/children").read_text().split()]
        except OSError:
            return []

    def stop(self) -> int | None:
        """SIGTERM to both; the exit code of the control process."""
        code = None
        for process in (self.api, self.control):
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(45)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = None
        self.api = self.control = None
        return code

    def kill(self) -> None:
        """Whatever still runs."""
        for process in (self.api, self.control):
            if process is not None:
                process.kill()
                process.wait()
        self._log.close()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    # ------------------------------------------------------------ questions

    def ask(self, **request: Any) -> dict[str, Any]:
        """What the control process says; nothing if it does not answer."""
        try:
            return control.ask(self.state / "control.sock", request, 5.0)
        except (EdgeAgentError, OSError):
            return {}

    def arm(self) -> bool:
        return self.ask(do="arm", loop="pump", reason="test", by="test", **{"for": "8h"}).get("mode") == "armed"

    def loop(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(do="status").get("loops", {}).get("pump", {})
        return found

    def acknowledged(self) -> set[int]:
        """life * LIFE + number of every batch that the agent said it has."""
        data = self.acks.read_bytes() if self.acks.exists() else b""
        return {life * LIFE + n for life, n in ACK.iter_unpack(data)}

    def newest_acknowledged(self) -> int:
        """The last one of them."""
        data = self.acks.read_bytes()[-ACK.size :] if self.acks.exists() else b""
        return ACK.unpack(data)[0] * LIFE + ACK.unpack(data)[1] if len(data) == ACK.size else 0

    def recorded(self, folder: Path | None = None) -> set[int]:
        """The same of every batch that is in the ledger."""
        with Reader(folder or self.state / "ledger") as reader:
            rows = reader.after(Cursor(), 10_000_000)
        said = (payload_of(row) for row in rows if row.kind == "sample" and row.payload is not None)
        return {int(sample["value"]) for sample in said if sample["tag"] == "count"}


def until(what: str, holds: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Wait, and say what for if it does not come."""
    start = time.monotonic()
    while not (found := holds()):
        if time.monotonic() - start > within_s:
            raise AssertionError(f"waited {within_s:g} s for {what}")
        time.sleep(0.05)
    return found
