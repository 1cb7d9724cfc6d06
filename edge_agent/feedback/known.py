"""Which samples lie on disk already? After our own crash a server or broker sends again what it was not told that we have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Reader

_NEWEST = 20_000  # samples of earlier lives: more than any link may leave unacknowledged

Key = tuple[str, int, str]


def key(payload: Mapping[str, Any]) -> Key:
    """What makes a sample the same one: its tag, its time by the device's clock, its value."""
    return payload["tag"], payload["source_ns"], json.dumps(payload["value"])


def samples(ledger: Path) -> set[Key]:
    """The newest samples in a ledger. Blocking. A ledger that cannot be read is said elsewhere: here it holds nothing."""
    try:
        with Reader(ledger) as reader:
            return {key(record.payload) for record in reader.newest(_NEWEST, "sample") if record.payload}
    except (EdgeAgentError, OSError, KeyError):
        return set()
