"""A version changes: an older ledger opens, a newer one is refused untouched, and a kill in the middle damages nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import migrate_driver
import pytest

from edge_agent.clock import ManualClock
from edge_agent.feedback import schema
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.schema import NewerLedger
from edge_agent.feedback.store import Entry, Store
from edge_agent.feedback.verify import verify
from edge_agent.feedback.writer import Identity, Limits

RELEASED = Path(__file__).with_name("released")
DRIVER = Path(__file__).with_name("migrate_driver.py")
Figure = Callable[..., None]


def fill(folder: Path, count: int) -> Path:
    """A ledger of today's version, written with today's code."""
    store = Store(folder, 1, 0)
    for start in range(0, count, 500):
        entries = [Entry("sample", None, "acme", "site", n, n, b'{"n":%d,"x":"%s"}' % (n, b"y" * 100)) for n in range(start, start + 500)]
        store.write([*entries, Entry("window", "p1", "acme", "site", 0, 0, b"{}", (b"blob %d" % start,))])
    store.close()
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def killed(memory: Path, kills: int, *options: str, records: int = 2000) -> dict[str, Any]:
    fill(memory / "old", records)
    command = [sys.executable, DRIVER, memory, str(kills), "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 6 * kills, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["kills"], found["records"]) == (kills, records + records // 500)
    return found


# ---------------------------------------------------------------- older


@pytest.mark.parametrize("version", sorted(path.name for path in RELEASED.iterdir()))
def test_a_ledger_of_each_released_version_opens_and_goes_on(tmp_path: Path, version: str, clock: ManualClock) -> None:
    """released/N was written by the first release with schema N (write_released.py) and is never written again."""
    shutil.copytree(RELEASED / version, tmp_path / "ledger")
    expected = json.loads((tmp_path / "ledger" / "expected.json").read_text())
    ledger = Ledger(tmp_path / "ledger", identity=Identity("a1", "acme"), clock=clock, limits=Limits(min_free=0))
    ledger.start()
    assert ledger.healthy, ledger.status()
    ledger.close()
    report = verify(tmp_path / "ledger")
    assert report.findings == []
    with Reader(tmp_path / "ledger") as reader:
        rows = reader.after(Cursor(), 10_000)
    assert [[row.epoch, row.seq, row.kind, row.hash.hex()] for row in rows[: len(expected)]] == expected
    assert rows[-1].seq == len(expected) + 1
    assert not list((tmp_path / "ledger").glob("set-aside-*"))


def test_there_is_a_released_ledger_of_today_s_schema() -> None:
    assert (RELEASED / str(schema.VERSION)).is_dir(), "run write_released.py with the first release that has this schema, and keep it"


# ---------------------------------------------------------------- newer


@pytest.mark.parametrize("cut", [False, True], ids=["closed", "killed"])
def test_a_newer_ledger_is_refused_and_not_a_byte_of_it_changes(tmp_path: Path, clock: ManualClock, cut: bool) -> None:
    folder = tmp_path / "ledger" / "current"
    fill(folder, 500)
    child = os.fork()
    if child == 0:
        try:
            migrate_driver.become_the_next_version()
            store = Store(folder, 5, 0)
            store.write([Entry("intent", "p1", "acme", "site", 0, 0, b"{}")])
            if not cut:
                store.close()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    before = files(folder)
    assert ("ledger.sqlite3-wal" in before) == cut
    ledger = Ledger(tmp_path / "ledger", identity=Identity("a1", "acme"), clock=clock)
    with pytest.raises(NewerLedger, match="install that version again"):
        ledger.start()
    with pytest.raises(NewerLedger):
        Reader(tmp_path / "ledger")
    assert {name: sha for name, sha in files(folder).items() if not name.endswith("-shm")} == {
        name: sha for name, sha in before.items() if not name.endswith("-shm")
    }, "the shared-memory index is SQLite's scratch paper; everything else stays as it is"
    db = sqlite3.connect(folder / schema.FILE)
    assert db.execute("SELECT count(*) FROM record WHERE kind = 'intent'").fetchone() == (1,)
    db.close()


# ---------------------------------------------------------------- in between


def test_kills_in_a_migration_damage_nothing(memory: Path, figure: Figure) -> None:
    found = killed(memory, 8)
    assert found["damaged"] == 0, found["wrong"]
    figure("upgrade", kills_in_migration=8, damaged=0, records=found["records"])


@pytest.mark.control
def test_a_careless_migration_is_damaged_by_kills(memory: Path, figure: Figure) -> None:
    found = killed(memory, 6, "careless")
    assert found["damaged"] >= 3
    figure("upgrade, control without transaction", kills_in_migration=6, damaged=found["damaged"])


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_a_hundred_kills_in_a_migration_damage_nothing(memory: Path, figure: Figure) -> None:
    found = killed(memory, 100, records=10_000)
    assert found["damaged"] == 0, found["wrong"]
    figure("upgrade", kills_in_migration=100, damaged=0, records=found["records"])
