"""The agent as a process, and what it has said of each window."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_agent import control
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import record_of


@contextmanager
def running(folder: Path, **values: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """`edge-agent run` as a process; its status on demand. `values`: what stands for words in live.yaml."""
    config = folder / "live.yaml"
    for name, value in values.items():
        config.write_text(config.read_text().replace(name, value))
    environment = os.environ | {"STATE_DIRECTORY": str(folder / "state")}
    with (folder / "agent.log").open("wb") as log:
        agent = subprocess.Popen([sys.executable, "-m", "edge_agent", "run", str(config)], stdout=log, stderr=log, env=environment)

    def page() -> dict[str, Any]:
        assert agent.poll() is None, (folder / "agent.log").read_text()
        return control.ask(folder / "state" / "control.sock", {"do": "status"}, 10.0)

    try:
        yield page
    finally:
        agent.terminate()
        assert agent.wait(45) == 0, (folder / "agent.log").read_text()


def diagnoses(folder: Path) -> list[Mapping[str, Any]]:
    """Every diagnosis in the ledger, in order."""
    with Reader(folder / "state" / "ledger") as reader:
        records = [record_of(row) for row in reader.after(Cursor(), 1_000_000)]
    return [r.payload for r in records if r.kind == "diagnosis"]


def end_ms(page: Mapping[str, Any]) -> float:
    """When the newest window that was diagnosed ended."""
    diagnosis = page["loops"]["machine"]["diagnosis"]
    return diagnosis["end_ns"] / 1e6 if diagnosis else 0.0


def until(what: str, holds: Callable[[], bool], within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(EdgeAgentError, KeyError):  # it is still starting
            if holds():
                return
        time.sleep(0.05)
    raise AssertionError(f"waited {within_s:g} s for {what}")
