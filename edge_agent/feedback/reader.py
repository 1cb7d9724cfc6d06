"""What is in the ledger? Read-only, beside a living writer; every call is one short look."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from edge_agent.errors import LedgerDamaged
from edge_agent.feedback import schema
from edge_agent.feedback.blobs import Blobs
from edge_agent.feedback.row import COLUMNS, Row, record_of
from edge_agent.messages import Record

_SCANT = COLUMNS.removesuffix(", payload")


class Cursor(NamedTuple):
    """A place in the ledger, after this record. Ordered: a later epoch is later, whatever its seq."""

    epoch: int = 0
    seq: int = 0


class Reader:
    """One connection to one ledger folder (`STATE/ledger`, one set aside, or the file itself)."""

    def __init__(self, path: Path) -> None:
        self.file = file_in(path)
        self.blobs = Blobs(self.file.parent / "blobs")
        self._db = schema.open_reader(self.file)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def after(self, cursor: Cursor, limit: int, shares: Collection[str] | None = None) -> list[Row]:
        """The next rows in order, at most `limit`; the payload is left out where `shares` does not hold the row's share."""
        marks = ",".join("?" * len(shares or ()))
        payload = "payload" if shares is None else f"CASE WHEN share IN ({marks}) THEN payload END"
        return self._rows(
            f"SELECT {_SCANT}, {payload} FROM line WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - only our own column names
            (*(shares or ()), self._start(cursor), limit),
        )

    def row(self, seq: int) -> Row | None:
        """The row of this seq."""
        rows = self._rows(f"SELECT {COLUMNS} FROM line WHERE seq = ?", (seq,))  # noqa: S608
        return rows[0] if rows else None

    def record(self, seq: int) -> Record | None:
        """The record of this seq."""
        row = self.row(seq)
        return record_of(row) if row else None

    def newest(self, limit: int, kind: str | None = None, loop: str | None = None) -> list[Record]:
        """The newest records, newest first, of this kind and loop."""
        wanted = {name: value for name, value in (("kind", kind), ("loop", loop)) if value is not None}
        where = " AND ".join([f"{name} = ?" for name in wanted] or ["1"])
        query = f"SELECT {COLUMNS} FROM line WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        return [record_of(row) for row in self._rows(query, (*wanted.values(), limit))]

    def labels(self, limit: int = 10_000) -> Iterator[Record]:
        """Every label, newest first."""
        return iter(self.newest(limit, "label"))

    def last(self) -> Cursor:
        """The newest record's place."""
        row = self._one("SELECT epoch, seq FROM record ORDER BY seq DESC LIMIT 1")
        return self.place(*row) if row else Cursor()

    def place(self, epoch: object, seq: object) -> Cursor:
        """A row's place. LedgerDamaged where it has none: SQLite gives back whatever type lies in the file."""
        if type(epoch) is not int or type(seq) is not int:
            raise LedgerDamaged(f"{self.file}: a record's place is {epoch!r}, {seq!r}; run `edge-agent ledger verify {self.file}`")
        return Cursor(epoch, seq)

    def shares_of_blob(self, sha256: str) -> set[str]:
        """How far the records that name this blob may travel."""
        query = "SELECT DISTINCT share FROM blob_ref JOIN record USING (seq) WHERE sha256 = ?"
        return {share for (share,) in self._all(query, (sha256,))}

    def hole_before(self, seq: int) -> tuple[int, int, bytes, bytes] | None:
        """The hole that ends just before this seq: first, last, the hash before it, the hash at its end."""
        found = self._holes("WHERE last = ?", (seq - 1,))
        return found[0] if found else None

    def holes(self) -> list[tuple[int, int, bytes, bytes]]:
        """Every hole that retention has left, oldest first."""
        return self._holes("ORDER BY first")

    def _holes(self, which: str, values: tuple[object, ...] = ()) -> list[tuple[int, int, bytes, bytes]]:
        found = self._all(f"SELECT first, last, before, after FROM hole {which}", values)  # noqa: S608 - only our own words
        if any(tuple(map(type, hole)) != (int, int, bytes, bytes) for hole in found):
            raise LedgerDamaged(f"{self.file}: its table of holes cannot be read; run `edge-agent ledger verify {self.file}`")
        return found

    def count(self) -> int:
        """How many records, roughly: from the first to the last."""
        row = self._one("SELECT min(seq), max(seq) FROM record")
        return row[1] - row[0] + 1 if row and row[0] is not None else 0

    def faults(self) -> list[str]:
        """What SQLite finds wrong with its pages and indexes, which no record shows. Reads the whole file."""
        return [said for (said,) in self._all("PRAGMA integrity_check(20)") if said != "ok"]

    def _start(self, cursor: Cursor) -> int:
        """The seq after which a cursor continues: its own, unless the file knows less of the cursor's epoch than the cursor (it
        began anew, or lost its end): then where the next epoch begins."""
        row = self._one("SELECT first_seq FROM epoch WHERE epoch > ? ORDER BY epoch LIMIT 1", (cursor.epoch,)) if cursor.epoch else None
        return cursor.seq if row is None else min(cursor.seq, self.place(0, row[0]).seq - 1)

    def _rows(self, query: str, values: tuple[object, ...]) -> list[Row]:
        return [Row._make(row) for row in self._all(query, values)]

    def _one(self, query: str, values: tuple[object, ...] = ()) -> tuple | None:  # type: ignore[type-arg]
        rows = self._all(query, values)
        return rows[0] if rows else None

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list:  # type: ignore[type-arg]
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as e:
            raise LedgerDamaged(f"{self.file}: cannot be read ({e}); run `edge-agent ledger verify {self.file}`") from e


def file_in(path: Path) -> Path:
    """The ledger file, from the file, its folder, or the folder above."""
    for candidate in (path / "current" / schema.FILE, path / schema.FILE):
        if candidate.exists():
            return candidate
    return path / "current" / schema.FILE if path.is_dir() or not path.suffix else path
