"""What is one loaded graph to the agent? Its bytes, its shared memory, its record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.diagnose.backoff import Backoff
from edge_agent.diagnose.batch import Arrays

_PACE = 0.1  # weight of the newest trip


@dataclass(slots=True, kw_only=True, eq=False)
class Graph:
    """One loaded graph: its bytes, its shared memory, its record."""

    name: str
    slot: int
    model: bytes = field(repr=False)
    specification: bytes = field(repr=False)
    tensors: int  # descriptor of the shared memory
    inputs: Arrays = field(repr=False)
    outputs: Arrays = field(repr=False)
    room: int  # windows that the shared memory holds
    shared: bool = False  # it was proven that windows may share a run
    backoff: Backoff = field(default_factory=Backoff)
    loaded: bool = False
    wanted: bool = False  # it was loaded once: a new worker loads it again, unless loading it is what ended the last one
    waiter: asyncio.Future[None] | None = None
    runs: int = 0
    failures: int = 0
    missed: int = 0  # deadlines
    window_ns: float = 0.0  # what a window costs in the worker of late
    last_error: str = ""

    def spent(self, ns: int, windows: int) -> None:
        """Take note of a trip; the first ones, cold, are soon forgotten."""
        each = ns / windows
        self.window_ns = each if not self.runs or each < self.window_ns / 4 else self.window_ns + (each - self.window_ns) * _PACE

    def status(self) -> Mapping[str, Any]:
        """For `edge-agent status`."""
        return {
            "loaded": self.loaded,
            "runs": self.runs,
            "failures": self.failures,
            "missed_deadlines": self.missed,
            "strikes": self.backoff.strikes,
            "mean_us": round(self.window_ns / 1000, 1),
            "windows_share_runs": self.shared,
            "last_error": self.last_error,
        }
