"""What does one ledger file hold, and how does a batch of records get onto the disk? Used by one thread only."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge_agent.errors import LedgerDamaged
from edge_agent.feedback import schema, tip
from edge_agent.feedback.blobs import Blobs
from edge_agent.feedback.chain import GENESIS, Header, digest, link
from edge_agent.feedback.row import COLUMNS, Row, fault_of

_HEAD = Row._fields[:-1]
_INSERT = f"INSERT INTO record({', '.join(_HEAD)}) VALUES ({', '.join('?' * len(_HEAD))})"  # noqa: S608 - only our own column names
_SHRINK_PAGES = 2000
_INDEX = 64 * 1024  # bytes of the log's index: 32 kB for every 4096 pages of the log, which has 1000, and a transaction more
_TAIL = 256  # records whose hashes are recomputed at each opening


class Entry(NamedTuple):
    """A record on its way to the disk: all but its place in the chain."""

    kind: str
    loop: str | None
    owner: str
    share: str
    wall_ns: int
    mono_ns: int
    payload: bytes
    blobs: tuple[bytes, ...] = ()
    about: tuple[int, ...] = ()  # the older records that a label speaks of
    lasting: bool = False  # never dropped


class Store:
    """An open ledger file with its blobs. Any sqlite3.Error or OSError means: close it and open it again."""

    def __init__(self, folder: Path, epoch: int, wall_ns: int, *, resume: int = 0) -> None:
        """Open the file in `folder`, check its tail and begin `epoch`, or a higher one if the file knows it already. `resume`:
        the newest seq of our own, when we open it again in mid-epoch; the epoch goes on, unless that record is not there.
        LedgerDamaged, NewerLedger."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.blobs = Blobs(folder / "blobs")
        self.blobs.folder.mkdir(exist_ok=True)
        self._files = (folder / schema.FILE, folder / f"{schema.FILE}-wal")
        self._tip = tip.Tip(folder / tip.FILE)
        self.db = schema.open_writer(folder / schema.FILE)
        try:
            self.seq, self._hash = check_tail(self.db)
            _allocate(folder / f"{schema.FILE}-shm")
            self.acknowledged = max(tip.read(folder / tip.FILE), resume)  # beyond `seq`: what the file has lost
            self.epoch = self._begin(epoch, wall_ns, resume)
            self._sweep()
            self._opened = self._identity()
        except (TypeError, ValueError, OverflowError) as e:
            self.close()
            raise LedgerDamaged(f"ledger: a field of the file is not what it can be ({e})") from e
        except BaseException:
            self.close()
            raise

    def write(self, entries: Sequence[Entry]) -> list[int]:
        """Commit the entries as one group, in order; return their seqs once they are on disk."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            seqs, last = self.insert(entries)
            self.db.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise
        self.advance(seqs, last)
        return seqs

    def insert(self, entries: Sequence[Entry]) -> tuple[list[int], bytes]:
        """Chain the entries and insert them into the open transaction; return their seqs and the last hash."""
        prev, rows, names = self._hash, [], []
        for seq, entry in enumerate(entries, self.seq + 1):
            shas = tuple(map(self.blobs.put, entry.blobs))
            header = self._header(seq, entry, shas)
            mark = link(prev, header)
            rows.append(_row(header, entry, prev, mark))
            names += [(sha, len(data), seq) for sha, data in zip(shas, entry.blobs, strict=True)]
            prev = mark
        self.db.executemany(_INSERT, rows)
        self.db.executemany(
            "INSERT INTO payload VALUES (?, ?)", [(row[0], entry.payload) for row, entry in zip(rows, entries, strict=True)]
        )
        if names:
            self.db.executemany("INSERT OR IGNORE INTO blob VALUES (?, ?)", [(sha, size) for sha, size, _ in names])
            self.db.executemany("INSERT OR IGNORE INTO blob_ref VALUES (?, ?)", [(seq, sha) for sha, _, seq in names])
        self._keep_what_labels_speak_of(entries)
        return [self.seq + n for n in range(1, len(entries) + 1)], prev

    def advance(self, seqs: Sequence[int], last: bytes) -> None:
        """The transaction with these records was committed. OSError if it went into a file that bears its name no more."""
        if self._identity() != self._opened:
            raise OSError(errno.ESTALE, "the ledger's file was removed or replaced while it was open", str(self._files[0]))
        if seqs:
            self.seq, self._hash = seqs[-1], last
            self._tip.put(self.seq)

    def roll_back(self) -> None:
        """Leave the open transaction, whatever the error has left of it."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def size(self) -> int:
        """Bytes in use: the pages of the database that are not free, and the blobs."""
        pages, free, page = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * page + int(self.db.execute("SELECT coalesce(sum(bytes), 0) FROM blob").fetchone()[0])

    def slack(self) -> int:
        """Bytes of the file's free pages: used again by what comes, or given back by `shrink`."""
        return self._pragma("freelist_count") * self._pragma("page_size")

    def shrink(self) -> None:
        """Give some of the free pages back to the disk."""
        self.db.execute(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})").fetchall()
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _pragma(self, name: str) -> int:
        return int(self.db.execute(f"PRAGMA {name}").fetchone()[0])

    def close(self) -> None:
        self._tip.close()
        self.db.close()

    def _identity(self) -> tuple[tuple[int, int], ...]:
        """Which files our names lead to. SQLite writes on into a removed one, and says nothing."""
        return tuple((found.st_dev, found.st_ino) for found in map(os.stat, self._files))

    def _header(self, seq: int, entry: Entry, shas: tuple[str, ...]) -> Header:
        return Header(
            shas, self.epoch, entry.kind, entry.loop, entry.mono_ns, entry.owner, digest(entry.payload), seq, entry.share, entry.wall_ns
        )

    def _keep_what_labels_speak_of(self, entries: Sequence[Entry]) -> None:
        about = [(seq,) for entry in entries for seq in entry.about]
        if about:
            self.db.executemany("UPDATE record SET worth = 1 WHERE seq = ? AND worth = 0", about)  # PLAIN becomes LABELLED

    def _begin(self, epoch: int, wall_ns: int, resume: int) -> int:
        """The epoch from here on. Records that are gone had their keys: these are not given again."""
        newest: int = self.db.execute("SELECT coalesce(max(epoch), 0) FROM epoch").fetchone()[0]
        if resume and epoch == newest and self.acknowledged <= self.seq:
            return epoch
        begun = max(epoch + bool(resume), newest + 1)
        self.db.execute("INSERT INTO epoch VALUES (?, ?, ?)", (begun, self.seq + 1, wall_ns))
        return begun

    def _sweep(self) -> None:
        """Files that no record names were written just before a crash: remove them, unless records are gone that may have named
        them. LedgerDamaged if a record does name it, or if the sizes do not agree: retention would drop what it should not."""
        known: dict[str, int] = dict(self.db.execute("SELECT sha256, bytes FROM blob"))
        for name, size in self.blobs.sizes():
            if known.get(name, size) != size:
                raise LedgerDamaged(f"ledger: blob {name} has {size} bytes, not {known[name]}")
            if name not in known:
                if self.db.execute("SELECT 1 FROM blob_ref WHERE sha256 = ?", (name,)).fetchone():
                    raise LedgerDamaged(f"ledger: blob {name} is named by a record, but not listed")
                if self.acknowledged > self.seq:
                    self.blobs.put_by(name)
                else:
                    self.blobs.drop([name])


def _allocate(index: Path) -> None:
    """SQLite maps the index of its log into memory. Where the disk's blocks are smaller than a page that file has holes, and to write
    into one of them on a full disk kills the process (SIGBUS): let the disk give all of it now. OSError if it has not as much.
    Through SQLite's own handle, because to close another one of this file would drop its locks."""
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if handle.readlink() == index.absolute():
                os.posix_fallocate(int(handle.name), 0, _INDEX)


def check_tail(db: sqlite3.Connection, count: int = _TAIL) -> tuple[int, bytes]:
    """Recompute the last records; return seq and hash of the last one. LedgerDamaged."""
    newest = f"SELECT {COLUMNS} FROM line ORDER BY seq DESC LIMIT ?"  # noqa: S608 - only our own column names
    found = db.execute(newest, (count,)).fetchall()
    hole: tuple[int, bytes] = db.execute("SELECT last, after FROM hole ORDER BY last DESC LIMIT 1").fetchone() or (0, GENESIS)
    prev: bytes | None = None
    for row in map(Row._make, reversed(found)):
        if prev not in (None, row.prev) and not _after_hole(db, row):
            raise LedgerDamaged(f"ledger: record {row.seq} does not follow the one before it")
        if fault := fault_of(row):
            raise LedgerDamaged(f"ledger: record {row.seq}: {fault}")
        prev = row.hash
    last = Row._make(found[0]) if found else None
    return (last.seq, last.hash) if last and last.seq > hole[0] else hole


def _after_hole(db: sqlite3.Connection, row: Row) -> bool:
    return db.execute("SELECT 1 FROM hole WHERE last = ? AND after = ?", (row.seq - 1, row.prev)).fetchone() is not None


def _row(header: Header, entry: Entry, prev: bytes, mark: bytes) -> tuple[object, ...]:
    worth = _worth(entry)
    blobs = json.dumps(header.blobs) if header.blobs else None
    stamps = (entry.wall_ns, entry.mono_ns, entry.owner, entry.share, worth, header.payload_sha256, blobs, prev, mark)
    return (header.seq, header.epoch, entry.kind, entry.loop, *stamps)


def _worth(entry: Entry) -> int:
    if entry.lasting:
        return schema.LASTING
    if entry.kind in schema.AUDIT:
        return schema.AUDITED
    return schema.LABELLED if entry.kind == "label" else schema.PLAIN
