"""How far has each consumer come? A cursor is an acknowledgement: on disk before the reply, and it never goes back."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from edge_agent.api.access import Denied
from edge_agent.clock import Clock
from edge_agent.feedback.reader import Cursor

_MOST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One consumer's place."""

    name: str
    token: str
    cursor: Cursor
    updated_ns: int


class Consumers:
    """A small file of the API's own; the ledger is never written by it."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def put(self, name: str, token: str, cursor: Cursor) -> Consumer:
        """Acknowledge. Denied if the name is another token's, the cursor lies before the old one, or there are too many."""
        with self._lock:
            db = self._open()
            old = self._one(name)
            if old is None and db.execute("SELECT count(*) FROM consumer").fetchone()[0] >= _MOST:
                raise Denied(409, f"there are {_MOST} consumers already; use one of their names")
            if old and old.token != token:
                raise Denied(403, f"the consumer {name!r} belongs to the token {old.token!r}; choose another name")
            if old and cursor < old.cursor:
                raise Denied(
                    409, f"the cursor stands at epoch {old.cursor.epoch}, seq {old.cursor.seq} and never goes back; pull again with `after`"
                )
            new = Consumer(name=name, token=token, cursor=cursor, updated_ns=self._clock.wall_ns())
            db.execute("INSERT OR REPLACE INTO consumer VALUES (?, ?, ?, ?, ?)", (name, token, cursor.epoch, cursor.seq, new.updated_ns))
            return new

    def all(self) -> list[Consumer]:
        """Every consumer, by name."""
        with self._lock:
            return [_consumer(row) for row in self._open().execute("SELECT * FROM consumer ORDER BY name")]

    def close(self) -> None:
        with self._lock:
            if self._db:
                self._db.close()
                self._db = None

    def _one(self, name: str) -> Consumer | None:
        row = self._open().execute("SELECT * FROM consumer WHERE name = ?", (name,)).fetchone()
        return _consumer(row) if row else None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._file, timeout=5.0, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA synchronous=EXTRA")
            db.execute(
                "CREATE TABLE IF NOT EXISTS consumer (name TEXT PRIMARY KEY, token TEXT NOT NULL,"
                " epoch INTEGER NOT NULL, seq INTEGER NOT NULL, updated_ns INTEGER NOT NULL)"
            )
            self._db = db
        return self._db


def _consumer(row: tuple[str, str, int, int, int]) -> Consumer:
    name, token, epoch, seq, updated_ns = row
    return Consumer(name=name, token=token, cursor=Cursor(epoch, seq), updated_ns=updated_ns)
