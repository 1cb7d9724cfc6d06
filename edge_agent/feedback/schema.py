"""What tables does a ledger file hold, and how does an older file become today's?

Payloads lie in a table of their own: dropping the oldest empties whole pages, and looking through records reads none of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import LedgerDamaged, LedgerError

FILE = "ledger.sqlite3"
APPLICATION = 0x4541474C  # "EAGL", so that `file` and we know our own
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# What every version has. The list of tables alone says little: SQLite takes a name from the text of the CREATE beside it.
_RECORD = "seq, epoch, kind, loop, wall_ns, mono_ns, owner, share, worth, kept, payload_sha256, blobs, prev, hash"
_COLUMNS = {
    "record": _RECORD,
    "payload": "seq, data",
    "epoch": "epoch, first_seq, wall_ns",
    "hole": "first, last, before, after",
    "blob": "sha256, bytes",
    "blob_ref": "seq, sha256",
    "progress": "name, value",
    "line": f"{_RECORD}, payload",
}
_UNREADABLE = "Could not decode to UTF-8"  # Python's own, without a code
AUDIT = frozenset({"intent", "outcome", "mode", "operator", "config", "model"})

# How long a record's payload is worth keeping: the column `worth`. Retention drops the lowest first; what
# retention itself wrote lasts, because the chain needs it to vouch for what is gone.
PLAIN, LABELLED, AUDITED, LASTING = 0, 1, 2, 3


class NewerLedger(LedgerError):
    """The file was written by a newer version; it is left untouched."""


def _v1(db: sqlite3.Connection) -> None:
    import sqlite_utils

    tables = sqlite_utils.Database(db)
    record = {"seq": int, "epoch": int, "kind": str, "loop": str, "wall_ns": int, "mono_ns": int, "owner": str, "share": str}
    record |= {"worth": int, "kept": int, "payload_sha256": str, "blobs": str, "prev": bytes, "hash": bytes}
    optional = {"loop", "blobs"}
    tables.table("record").create(record, pk="seq", not_null=set(record) - optional, defaults={"kept": 1})
    tables.table("payload").create({"seq": int, "data": bytes}, pk="seq", not_null={"data"})
    tables.table("epoch").create({"epoch": int, "first_seq": int, "wall_ns": int}, pk="epoch", not_null={"first_seq", "wall_ns"})
    tables.table("hole").create({"first": int, "last": int, "before": bytes, "after": bytes}, pk="first")
    tables.table("blob").create({"sha256": str, "bytes": int}, pk="sha256", not_null={"bytes"})
    tables.table("blob_ref").create({"seq": int, "sha256": str}, pk=("seq", "sha256"))
    tables.table("progress").create({"name": str, "value": int}, pk="name", not_null={"value"})
    db.execute("CREATE INDEX blob_used ON blob_ref(sha256)")
    db.execute("CREATE INDEX record_kind ON record(kind)")
    db.execute("CREATE INDEX record_empty ON record(seq) WHERE kept = 0")
    db.execute("CREATE VIEW line AS SELECT record.*, payload.data AS payload FROM record LEFT JOIN payload USING (seq)")


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_v1,)
VERSION = len(_STEPS)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open (or make, or migrate) the file for the one writer. NewerLedger, sqlite3.Error."""
    if path.exists() and path.stat().st_size:
        _refuse_by_header(path)
        _read_only(path, "mode=ro").close()
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA journal_size_limit=4000000")
        db.execute("PRAGMA cache_size=-4000")
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the file for reading only, beside a living writer or without one. LedgerError if there is none."""
    if not path.exists():
        raise LedgerError(f"{path}: there is no ledger yet; start `edge-agent run` with this configuration first")
    try:
        _refuse_by_header(path)
        return _read_only(path, "mode=ro")
    except sqlite3.DatabaseError as e:
        if is_damage(e):
            raise LedgerDamaged(f"{path}: is not a ledger, or damaged ({e}); the agent sets it aside when it starts") from e
        if path.with_name(path.name + "-wal").exists():
            raise
        return _read_only(path, "mode=ro&immutable=1")  # a closed file in a folder that we may not write


def is_damage(error: Exception) -> bool:
    """Whether the file itself is wrong, and not the way to it."""
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith(_UNREADABLE):
        return True
    return isinstance(error, LedgerDamaged) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _read_only(path: Path, options: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        _check(path, db, *_version_and_tables(db))
    except BaseException:
        db.close()
        raise
    return db


def _refuse_by_header(path: Path) -> None:
    """What the first bytes tell before SQLite touches anything (sqlite.org/fileformat2.html): NewerLedger; LedgerDamaged where
    the file claims a format that was never made, and SQLite would only say "readonly"."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head.startswith(b"SQLite format 3\0"):
        return  # SQLite will say so
    if any(version not in (1, 2) for version in head[18:20]):
        raise LedgerDamaged(f"{path}: its header claims the formats {list(head[18:20])}; SQLite knows 1 and 2")
    if not path.with_name(path.name + "-wal").exists():
        _refuse_newer(path, int.from_bytes(head[60:64], "big", signed=True))


def _refuse_newer(path: Path, version: int) -> None:
    if version > VERSION:
        raise NewerLedger(f"{path}: written by a newer edge-agent (schema {version}, ours is {VERSION}); install that version again")


def _version_and_tables(db: sqlite3.Connection) -> tuple[int, set[str]]:
    try:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        return version, {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    except UnicodeDecodeError as e:  # Python's own: SQLite quotes what it found in its complaint
        raise LedgerDamaged(f"its tables cannot be listed ({e.object!r})") from e
    except sqlite3.OperationalError as e:
        if getattr(e, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise
        raise LedgerDamaged(f"its tables cannot be listed ({e})") from e


def _check(path: Path, db: sqlite3.Connection, version: int, tables: set[str]) -> None:
    """NewerLedger; LedgerDamaged unless the tables and columns are those that the version number promises. SQLite has no code for
    that: it says "no such table", as it does for a mistake in a query."""
    _refuse_newer(path, version)
    if (version <= 0 and tables) or (version > 0 and not tables >= _COLUMNS.keys()):
        raise LedgerDamaged(f"{path}: says it is of version {version}, and has the tables {', '.join(sorted(tables)) or 'none'}")
    try:
        for table, columns in _COLUMNS.items() if version else ():
            db.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608 - only our own names
    except sqlite3.OperationalError as e:
        if getattr(e, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise
        raise LedgerDamaged(f"{path}: says it is of version {version}, and is not made so ({e})") from e


def _migrate(db: sqlite3.Connection) -> None:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    for number, step in enumerate(_STEPS[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            step(db)
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={number}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
