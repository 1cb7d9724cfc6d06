"""How is the whole agent started for a bench, and when is it ready?"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import cpu_s, family, pss_mb, rss_mb

HOME = Path(__file__).resolve().parent.parent
_READY_S = 120.0


@dataclass(slots=True)
class Running:
    """An agent that is ready."""

    process: subprocess.Popen[bytes]
    config: Path
    start_s: float  # from the start of the process to READY=1

    @property
    def pids(self) -> list[int]:
        """Control and worker."""
        return family(self.process.pid)

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        return cpu_s(self.pids)

    def rss_mb(self) -> float:
        return rss_mb(self.pids)

    def pss_mb(self) -> float:
        return pss_mb(self.pids)

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        return self.ask("status")

    def ask(self, *words: str) -> dict[str, Any]:
        """`edge-agent COMMAND CONFIG --json`, the words after the configuration."""
        command = [sys.executable, "-m", "edge_agent", words[0], str(self.config), *words[1:], "--json"]
        done = subprocess.run(command, capture_output=True, cwd=HOME, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout.decode()}{done.stderr.decode()}")
        reply: dict[str, Any] = json.loads(done.stdout)
        return reply


@contextlib.contextmanager
def running(config: Path, *, cores: set[int] | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """The agent of this configuration, until the block ends. RuntimeError if it does not get ready."""
    log = config.with_suffix(".log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, log.open("wb") as out:
        address = str(config.with_suffix(".notify"))
        Path(address).unlink(missing_ok=True)
        ear.bind(address)
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", "run", str(config)],
            cwd=HOME,
            stdout=out,
            stderr=out,
            env={**os.environ, "NOTIFY_SOCKET": address, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(environment or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        try:
            _await_ready(ear, process, log)
            yield Running(process, config, time.perf_counter() - begin)
        finally:
            end(process)


def _await_ready(ear: socket.socket, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    ear.settimeout(0.25)
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in ear.recv(4096):
                return
    raise RuntimeError(f"the agent did not get ready: {log.read_text()[-2000:]}")


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process of ours to end, and see to it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
