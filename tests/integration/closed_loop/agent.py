"""The agent as a process, on a machine that has everything it needs, and everything a person would ask it with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent import control
from edge_agent.diagnose import manifest
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import record_of
from edge_agent.lifecycle.sign import keygen, sign
from edge_agent.messages import Record

from . import bus
from .pump_run import RATE, ROOT

LOOP = "valve"
PASSWORDS = {"plc_password": "plc-secret", "bus_password": bus.PASSWORD, "pool_token": "pool-token-of-this-test"}

# What differs from configs/pump-valve.yaml: where things are, and that time runs RATE times as fast. What bridges a hiccup of this
# machine (gap, age, settle) is not quite so fast. The motor's answer is not asked for: a recording answers nobody.
HURRIED = (
    (r"mqtts://[\d.:]+", "{broker}"),
    (r"opc\.tcp://[\d.:]+", "{plant}"),
    (r"tls: \{ca: .*?\}", "tls: {{}}"),
    (r"trust: /etc/edge-agent/trust", "trust: keys"),
    (r"publish: 200 ms", "publish: 50 ms"),
    (r"sampling: 100 ms", "sampling: 10 ms"),
    (r"max_age: 10 s", "max_age: 1 s"),
    (r"max_flat: 5 min", "max_flat: 15 s"),
    (r"every: 1 s (?=#)", "every: 50 ms "),
    (r"max_gap: 3 s", "max_gap: 600 ms"),
    (r"settle: 500 ms", "settle: 250 ms"),
    (r"for: 5 s", "for: 250 ms"),
    (r"for: 20 s", "for: 1 s"),
    (r"cool_down: 2 min", "cool_down: 6 s"),
    (r"rate: 200/min", "rate: 4000/min"),
    (r"min_interval: 6 s", "min_interval: 300 ms"),
    (r"lease: \{tag: lease, every: 1 s\}", "lease: {{tag: lease, every: 250 ms}}"),
    (r"\n *response: .*", ""),
    (r"before: 2 min, after: 1 min", "before: 6 s, after: 3 s"),
)


@dataclass
class Agent:
    """`edge-agent run` as a process, and everything a person would ask it with."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "pump-valve.yaml"

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def start(self, *arguments: str) -> Agent:
        with (self.folder / "agent.log").open("ab") as log:
            command = [sys.executable, "-m", "edge_agent", "run", str(self.config), *arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        return self

    def page(self) -> dict[str, Any]:
        """Its status."""
        return control.ask(self.folder / "state" / "control.sock", {"do": "status"}, 10.0)

    def loop(self) -> dict[str, Any]:
        """Its loop's status."""
        found: dict[str, Any] = self.page()["loops"][LOOP]
        return found

    def until(self, what: str, found: Callable[[dict[str, Any]], Any], timeout_s: float) -> dict[str, Any]:
        """Its status once this is true of it."""
        page: dict[str, Any] = {}
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process is None or self.process.poll() is None, f"the agent ended while we waited for {what}\n{self.log}"
            with suppress(EdgeAgentError, KeyError):  # it is still starting
                page = self.page()
                if found(page):
                    return page
            time.sleep(0.05)
        raise AssertionError(f"no {what} within {timeout_s} s\n{json.dumps(page, indent=1)[-6000:]}\n{self.log[-4000:]}")

    def kill(self) -> None:
        """As a power cut does."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def end(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 45.0) -> int:
        """Its exit code."""
        assert self.process
        self.process.send_signal(how)
        return self.process.wait(timeout_s)

    def cli(self, *arguments: str | Path, code: int = 0) -> str:
        """What a command says."""
        command = [sys.executable, "-m", "edge_agent", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.environment, check=False)
        assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def records(self, kind: str | None = None, *, epoch: int | None = None) -> list[Record]:
        """The ledger's records in order."""
        with Reader(self.folder / "state" / "ledger") as reader:
            found = [record_of(row) for row in reader.after(Cursor(), 1_000_000)]
        return [r for r in found if kind in (None, r.kind) and epoch in (None, r.epoch)]


def build(folder: Path, *, plant: str, broker: str) -> Agent:
    """Everything the agent finds on its machine: its configuration, secrets, the signed bundle, whom to trust."""
    text = (ROOT / "configs" / "pump-valve.yaml").read_text()
    for pattern, replacement in HURRIED:
        text, count = re.subn(pattern, replacement.format(plant=plant, broker=broker), text)
        assert count, f"configs/pump-valve.yaml has no {pattern} any more"
    (folder / "pump-valve.yaml").write_text(text)
    (folder / "secrets").mkdir()
    for name, secret in PASSWORDS.items():
        (folder / "secrets" / name).touch(mode=0o600)
        (folder / "secrets" / name).write_text(secret)
    _bundle(folder / "models" / "pump-valve", folder / "keys")
    return Agent(
        folder, os.environ | {"STATE_DIRECTORY": str(folder / "state"), "EDGE_AGENT_TOKEN": PASSWORDS["pool_token"], "OMP_NUM_THREADS": "1"}
    )


def _bundle(bundle: Path, keys: Path) -> None:
    """The bundle as it is shipped, its card in our faster time, signed by a key made for this test."""
    shutil.copytree(ROOT / "models" / "pump-valve", bundle, ignore=shutil.ignore_patterns("*.py", "__pycache__", "manifest.sig"))
    card = (bundle / "card.yaml").read_text()
    assert "every: 1 s" in card
    (bundle / "card.yaml").write_text(card.replace("every: 1 s", f"every: {1000 // RATE} ms"))
    listed = manifest.parse((bundle / "manifest.json").read_bytes())
    files = {name: (bundle / name).read_bytes() for name in listed.files}
    (bundle / "manifest.json").write_bytes(manifest.build(listed.name, listed.version, files))
    private, _, _ = keygen(keys, "test")
    sign(bundle, private)
