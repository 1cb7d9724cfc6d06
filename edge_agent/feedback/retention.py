"""What is dropped when the ledger is full? The oldest unlabelled first, then labelled, the audit trail last.

Two kinds of step, each one transaction that also writes down what it did: payloads (with their blobs) of one worth; and
empty records themselves, leaving holes that the chain vouches for, once they take a quarter of the room or before
anything that is labelled has to go. What was written down of all that is summed up in one record now and then, or these
notes would fill the ledger in the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.feedback import schema, told
from edge_agent.feedback.store import Entry, Store

_CHUNK = 4000  # records a step, so that an intent never waits long behind it
_EMPTY = 300  # bytes of a record without its payload, indexes included
_NOTES = 64  # records of what was dropped, before they become one
_NAMES = {schema.PLAIN: "unlabelled", schema.LABELLED: "labelled", schema.AUDITED: "audit"}

Note = Callable[[Mapping[str, Any]], Entry]
"""Makes the record that says what was dropped."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one step gave up."""

    payloads: int = 0
    records: int = 0
    bytes: int = 0


def step(store: Store, max_size: float, note: Note, *, spare: bool = False) -> Dropped | None:
    """Drop one chunk; None when nothing is left to drop. `spare`: somebody else fills the disk, so give up only what is
    unlabelled."""
    if _progress(store.db, "notes") > _NOTES:
        return _sum_up(store, note)
    if _empty(store.db) * _EMPTY > max_size / 4 and (done := _remove_empty(store, note)):
        return done
    if (done := _drop_payloads(store, schema.PLAIN, max_size, note)) or spare:
        return done
    for worth in (schema.LABELLED, schema.AUDITED):
        if done := _remove_empty(store, note) or _drop_payloads(store, worth, max_size, note):
            return done
    return _remove_empty(store, note)


def _drop_payloads(store: Store, worth: int, max_size: float, note: Note) -> Dropped | None:
    chosen = _oldest(store, worth, max_size)
    if not chosen:
        return None
    first, last, size = chosen[0][0], chosen[-1][0], sum(row[1] for row in chosen)
    what = {"event": "retention", "dropped": "payload", "worth": _NAMES[worth], "first": first, "last": last, "count": len(chosen)}
    gone: list[str] = []

    def change(db: sqlite3.Connection) -> None:
        seqs = [(seq,) for seq, _ in chosen]
        held = [sha for seq in seqs for (sha,) in db.execute("SELECT sha256 FROM blob_ref WHERE seq = ?", seq)]
        db.executemany("DELETE FROM payload WHERE seq = ?", seqs)
        db.executemany("UPDATE record SET kept = 0 WHERE seq = ?", seqs)
        db.executemany("DELETE FROM blob_ref WHERE seq = ?", seqs)
        gone.extend(sha for sha in set(held) if not db.execute("SELECT 1 FROM blob_ref WHERE sha256 = ?", (sha,)).fetchone())
        db.executemany("DELETE FROM blob WHERE sha256 = ?", [(sha,) for sha in gone])
        _remember(db, f"payload {worth}", last)
        _remember(db, "empty", _empty(db) + len(chosen))

    _commit(store, change, note({**what, "bytes": size}))
    store.blobs.drop(gone)
    return Dropped(payloads=len(chosen), bytes=size)


def _oldest(store: Store, worth: int, max_size: float) -> list[tuple[int, int]]:
    """The oldest records of this worth: (seq, bytes of payload and blobs), at most a chunk; as much as there is too much, and
    2 % of the room more often than not."""
    enough = max(max_size / 50, store.size() - max_size)
    rows = store.db.execute(
        "SELECT seq, length(data) + coalesce((SELECT sum(b.bytes) FROM blob_ref r JOIN blob b USING (sha256)"
        " WHERE r.seq = record.seq), 0)"
        " FROM record JOIN payload USING (seq) WHERE seq > ? AND worth = ? ORDER BY seq LIMIT ?",
        (_progress(store.db, f"payload {worth}"), worth, _CHUNK),
    )
    chosen, size = [], 0
    for seq, length in rows:
        chosen.append((seq, length))
        size += length
        if size > enough:
            break
    return chosen


def _remove_empty(store: Store, note: Note) -> Dropped | None:
    """Remove the oldest records without payload: every run of neighbours among the next chunk of records."""
    start = store.db.execute("SELECT seq FROM record WHERE kept = 0 ORDER BY seq LIMIT 1").fetchone()
    if start is None:
        return None
    look = "SELECT seq, prev, hash, NOT kept FROM record WHERE seq >= ? ORDER BY seq LIMIT ?"
    runs = list(_runs(store.db.execute(look, (start[0], _CHUNK)).fetchall()))
    count = sum(len(run) for run in runs)
    spans = [[run[0][0], run[-1][0]] for run in runs]

    def change(db: sqlite3.Connection) -> None:
        for run in runs:
            db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (run[0][0], run[-1][0]))
            hole = _joined(db, run)
            db.execute("DELETE FROM hole WHERE first BETWEEN ? AND ?", hole[:2])
            db.execute("INSERT INTO hole VALUES (?, ?, ?, ?)", hole)
        _remember(db, "empty", max(0, _empty(db) - count))

    _commit(store, change, note({"event": "retention", "dropped": "record", "runs": spans, "count": count}))
    return Dropped(records=count, bytes=count * _EMPTY)


def _runs(rows: list[tuple[int, bytes, bytes, int]]) -> Iterator[list[tuple[int, bytes, bytes]]]:
    """Neighbouring empty records together: seq, the hash before, the hash."""
    run: list[tuple[int, bytes, bytes]] = []
    for seq, prev, mark, empty in rows:
        if run and not (empty and seq == run[-1][0] + 1):
            yield run
            run = []
        if empty:
            run.append((seq, prev, mark))
    if run:
        yield run


def _sum_up(store: Store, note: Note) -> Dropped:
    """One record instead of all that say what was dropped; they themselves are dropped with it."""
    query = "SELECT seq, payload FROM line WHERE kind = 'agent' AND worth = ? AND payload IS NOT NULL ORDER BY seq"
    notes = [(seq, told.spans(payload)) for seq, payload in store.db.execute(query, (schema.LASTING,)).fetchall()]
    readable = [(seq, spans) for seq, spans in notes if spans is not None]
    seqs = [seq for seq, _ in readable]
    payloads = told.joined([(seq, seq) for seq in seqs] + [span for _, spans in readable for span in spans.payloads])
    records = told.joined([span for _, spans in readable for span in spans.records])

    def change(db: sqlite3.Connection) -> None:
        marks = [(seq,) for seq in seqs]
        db.executemany("DELETE FROM payload WHERE seq = ?", marks)
        db.executemany("UPDATE record SET kept = 0 WHERE seq = ?", marks)
        _remember(db, "empty", _empty(db) + len(seqs))
        _remember(db, "notes", 0)

    _commit(store, change, note({"event": "retention", "dropped": "summary", "payloads": payloads, "records": records, "count": len(seqs)}))
    return Dropped(payloads=len(seqs))


def _joined(db: sqlite3.Connection, run: list[tuple[int, bytes, bytes]]) -> tuple[int, int, bytes, bytes]:
    """The hole that the run makes together with the holes that touch it."""
    first, before, last, after = run[0][0], run[0][1], run[-1][0], run[-1][2]
    if left := db.execute("SELECT first, before FROM hole WHERE last = ?", (first - 1,)).fetchone():
        first, before = left
    if right := db.execute("SELECT last, after FROM hole WHERE first = ?", (last + 1,)).fetchone():
        last, after = right
    return first, last, before, after


def _commit(store: Store, change: Callable[[sqlite3.Connection], None], entry: Entry) -> None:
    store.db.execute("BEGIN IMMEDIATE")
    try:
        change(store.db)
        _remember(store.db, "notes", _progress(store.db, "notes") + 1)
        seqs, last = store.insert([entry])
        store.db.execute("COMMIT")
    except BaseException:
        store.roll_back()
        raise
    store.advance(seqs, last)


def _empty(db: sqlite3.Connection) -> int:
    return _progress(db, "empty")


def _progress(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT value FROM progress WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def _remember(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT INTO progress VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", (name, value))
