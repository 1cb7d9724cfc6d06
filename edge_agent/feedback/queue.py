"""What waits for the writer, and when is it worth a commit? Bounded; a full queue refuses, and says how often."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edge_agent.errors import LedgerError
from edge_agent.feedback.store import Entry

Seqs = Sequence[int]

GROUP = 512  # records in a commit, unless one unit alone is larger
LINGER_S = 0.2  # how long records that nobody waits for may wait for company
_MAX_RECORDS = 50_000
_MAX_BYTES = 64_000_000
_GROUP_BYTES = 8_000_000


class Pending(NamedTuple):
    """Records that are committed together, and who wants to know."""

    entries: list[Entry]
    urgent: bool  # somebody waits: commit as soon as the writer is free
    settle: Callable[[Seqs | LedgerError], None]  # called on the writer's thread

    @property
    def size(self) -> int:
        return sum(len(entry.payload) + sum(map(len, entry.blobs)) for entry in self.entries)


class Queue:
    """Between every thread that appends and the one that writes. Policy when full: refuse the new."""

    def __init__(self, max_records: int = _MAX_RECORDS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_records, self._max_bytes = max_records, max_bytes
        self._waiting: deque[Pending] = deque()
        self._records = self._bytes = self._urgent = 0
        self._changed = threading.Condition()
        self._closed = False
        self.refused = self.highest = 0

    def put(self, pending: Pending) -> None:
        """Queue it. LedgerError if there is no room or the queue is closed."""
        size = pending.size
        with self._changed:
            if self._closed or self._records + len(pending.entries) > self._max_records or self._bytes + size > self._max_bytes:
                self.refused += len(pending.entries)
                raise LedgerError(f"the ledger is {'closed' if self._closed else f'behind: {self._records} records wait for the disk'}")
            first = not self._waiting
            self._waiting.append(pending)
            self._count(pending, size, 1)
            self.highest = max(self.highest, self._records)
            if first or pending.urgent or self._records >= GROUP:
                self._changed.notify()

    def refuse(self, pending: Pending) -> None:
        """Count records that were not taken."""
        with self._changed:
            self.refused += len(pending.entries)

    def take(self, idle_s: float) -> list[Pending] | None:
        """The next group, oldest first; empty after `idle_s` without work; None once closed and drained."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._closed, idle_s):
                return []
            self._changed.wait_for(lambda: self._urgent or self._closed or self._records >= GROUP, LINGER_S)
            return self._group() or None

    def close(self) -> None:
        """Take nothing new; `take` hands out what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def status(self) -> dict[str, Any]:
        return {"waiting": self._records, "most_waiting": self.highest, "refused": self.refused, "max_waiting": self._max_records}

    def _group(self) -> list[Pending]:
        group: list[Pending] = []
        records = size = 0
        while self._waiting and (not group or (records + len(self._waiting[0].entries) <= GROUP and size < _GROUP_BYTES)):
            pending = self._waiting.popleft()
            group.append(pending)
            self._count(pending, pending.size, -1)
            records, size = records + len(pending.entries), size + pending.size
        return group

    def _count(self, pending: Pending, size: int, sign: int) -> None:
        self._records += sign * len(pending.entries)
        self._bytes += sign * size
        self._urgent += sign * pending.urgent
