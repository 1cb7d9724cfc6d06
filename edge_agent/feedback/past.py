"""What did an earlier run of this loop leave behind? A lockout, intents without an outcome, trims that were never taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.feedback.reader import Reader
from edge_agent.messages import Record

_FAR = 500  # records of a kind that are looked through; an intent older than that had its outcome long ago


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """`left` holds the last value that was confirmed for each trimmed tag."""

    locked: str | None = None
    open_intents: tuple[Record, ...] = ()
    left: Mapping[str, Any] = field(default_factory=dict)


def read(ledger: Path, loop: str) -> Past:
    """Look into the ledger. LedgerError if it cannot be read."""
    with Reader(ledger) as reader:
        modes = reader.newest(1, "mode", loop)
        intents = reader.newest(_FAR, "intent", loop)
        outcomes = reader.newest(2 * _FAR, "outcome", loop)
    settled = {outcome.payload.get("intent") for outcome in outcomes}
    last = modes[0].payload if modes else {}
    return Past(
        locked=str(last.get("reason")) if last.get("to") == "lockout" else None,
        open_intents=tuple(intent for intent in reversed(intents) if intent.seq not in settled),
        left=_left(intents, outcomes),
    )


def _left(intents: Sequence[Record], outcomes: Sequence[Record]) -> dict[str, Any]:
    trims = {intent.seq: intent.payload for intent in intents if intent.payload.get("kind") == "trim"}
    left: dict[str, Any] = {}
    for outcome in reversed(outcomes):
        trim = trims.get(outcome.payload.get("intent", -1))
        if trim is not None and outcome.payload.get("status") == "confirmed":
            left[str(trim["tag"])] = outcome.payload.get("after")
    return left


def unknown(intent: Record) -> dict[str, Any]:
    """The outcome of an intent that nobody saw the end of."""
    payload = intent.payload
    return {
        "tag": payload.get("tag"),
        "status": "unknown",
        "stage": "resolution",
        "value": payload.get("value"),
        "before": payload.get("before"),
        "after": None,
        "why": "the agent ended before it knew; the write may or may not have happened",
        "intent": intent.seq,
        "decision": payload.get("decision"),
        "write_ms": None,
        "verify_ms": None,
    }
