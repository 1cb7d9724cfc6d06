"""A ledger in a temporary folder, and windows to feed it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import ManualClock
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.writer import Identity, Limits
from edge_agent.messages import Decision, Diagnosis, Outcome, Window

Open = Callable[..., Ledger]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def open_ledger(folder: Path, clock: ManualClock) -> Iterator[Open]:
    """Start a ledger; all are closed at the end."""
    opened: list[Ledger] = []

    def start(limits: Limits | None = None) -> Ledger:
        identity = Identity("a1", "acme", {"p1": "company", "p2": "consortium"})
        ledger = Ledger(folder, identity=identity, clock=clock, limits=limits or Limits(min_free=0), retry_s=0.01)
        ledger.start()
        opened.append(ledger)
        return ledger

    yield start
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Open) -> Ledger:
    return open_ledger()


class Turns:
    """Makes the turns of a loop: windows of four rows, one row a second."""

    def window(self, seq: int, **changed: Any) -> Window:
        fields: dict[str, Any] = {
            "loop": "p1",
            "seq": seq,
            "tags": ("flow", "vib"),
            "start_ns": seq * 10**9,
            "end_ns": (seq + 3) * 10**9,
            "cut_ns": 0,
            "mono_ns": 0,
            "values": np.full((2, 4), seq, np.float32),
            "quality": np.zeros((2, 4), np.uint16),
            "live": {},
            "fit": True,
        }
        return Window(**{**fields, **changed})

    def diagnosis(self, seq: int, score: float | None = 0.1, **changed: Any) -> Diagnosis:
        fields: dict[str, Any] = {"loop": "p1", "window": seq, "end_ns": (seq + 3) * 10**9, "status": "ok", "score": score, "model": "m@1"}
        return Diagnosis(**{**fields, **changed})

    def decision(self, seq: int, state: str = "normal", **changed: Any) -> Decision:
        fields: dict[str, Any] = {
            "loop": "p1",
            "seq": seq,
            "window": seq,
            "end_ns": (seq + 3) * 10**9,
            "state": state,
            "previous": "normal",
        }
        return Decision(**{**fields, "proposals": (), "reason": "score", **changed})

    def outcome(self, status: str, intent: int | None, **changed: Any) -> Outcome:
        fields: dict[str, Any] = {"loop": "p1", "tag": "speed", "status": status, "value": -200.0, "before": 0.0, "after": -200.0}
        return Outcome(**{**fields, "why": "", "intent": intent, "decision": 1, **changed})


@pytest.fixture
def turns() -> Turns:
    return Turns()
