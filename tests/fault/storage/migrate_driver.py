"""Opens a ledger as the next version would, which changes its tables, and is killed in the middle. Run by test_upgrade.py.

python migrate_driver.py FOLDER KILLS SEED [careless]     prints one line of JSON

`careless` changes the tables without a transaction (the control: it must leave half-changed files).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from edge_agent.errors import LedgerError
from edge_agent.feedback import schema
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.store import Store
from edge_agent.feedback.verify import verify

NEXT = schema.VERSION + 1
_STEPS = schema._STEPS


def _next(db: sqlite3.Connection) -> None:
    """What a next version might do: another column, every row rewritten, a table made anew under the old name."""
    db.execute("ALTER TABLE record ADD COLUMN checked INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE record SET checked = seq * 2")
    db.execute("CREATE TABLE payload_new (seq INTEGER PRIMARY KEY, data BLOB NOT NULL CHECK (length(data) > 0))")
    for seq, data in db.execute("SELECT seq, data FROM payload").fetchall():
        db.execute("INSERT INTO payload_new VALUES (?, ?)", (seq, data))
    db.execute("DROP VIEW line")
    db.execute("DROP TABLE payload")
    db.execute("ALTER TABLE payload_new RENAME TO payload")
    db.execute("CREATE VIEW line AS SELECT record.*, payload.data AS payload FROM record LEFT JOIN payload USING (seq)")


def become_the_next_version() -> None:
    schema._STEPS, schema.VERSION = (*_STEPS, _next), NEXT


def _careless(db: sqlite3.Connection) -> None:
    """As the loader of a careless version would: each statement for itself, the number last."""
    if db.execute("PRAGMA user_version").fetchone()[0] != NEXT:
        _next(db)
        db.execute(f"PRAGMA user_version={NEXT}")


def migrate(folder: Path, careless: bool) -> None:
    become_the_next_version()
    if careless:
        schema._migrate = _careless
    Store(folder, 99, 0).close()


def killed_in_it(folder: Path, after_s: float, careless: bool, *, wait: bool = False) -> bool:
    """Whether the kill came before the end; `wait` lets it come to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            migrate(folder, careless)
            code = 0
        finally:
            os._exit(code)
    if not wait:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the migration failed")
    return os.WIFSIGNALED(status)


def content(folder: Path) -> list[Any]:
    with Reader(folder) as reader:
        return [row for row in reader.after(Cursor(), 1_000_000) if row.epoch < 99]


def look(folder: Path, before: list[Any]) -> str:
    """Open it again, as the next version: "" if everything is as it was, else what is wrong."""
    try:
        with sqlite3.connect(folder / schema.FILE) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            checked = "checked" in {row[1] for row in db.execute("PRAGMA table_info(record)")}
        db.close()
        if checked != (version == NEXT):
            return f"version {version} with half of the next one's tables"
        Store(folder, 99, 0).close()
        if content(folder) != before or (findings := verify(folder).findings):
            return f"changed: {findings if content(folder) == before else ''}"
    except (LedgerError, sqlite3.Error) as e:
        return repr(e)
    return ""


def main(folder: Path, kills: int, seed: int, careless: bool) -> dict[str, Any]:
    chance = random.Random(seed)
    before, copy = content(folder / "old"), folder / "copy"
    shutil.copytree(folder / "old", copy)
    began = time.monotonic()
    if killed_in_it(copy, 0.0, careless, wait=True):
        raise RuntimeError("the migration does not come to an end")
    whole_s, inside, wrong = time.monotonic() - began, 0, []
    become_the_next_version()
    for _ in range(kills * 20):
        shutil.rmtree(copy)
        shutil.copytree(folder / "old", copy)
        if not killed_in_it(copy, chance.uniform(0.0, whole_s), careless):
            continue
        inside += 1
        if said := look(copy, before):
            wrong.append(said)
        if inside == kills:
            break
    return {"kills": inside, "damaged": len(wrong), "wrong": wrong[:10], "records": len(before), "migration_s": round(whole_s, 3)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "careless" in sys.argv)))
