"""Does the ledger stay within its bytes, drop the least worth first, and still verify?"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.feedback import retention
from edge_agent.feedback.chain import encode
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import Row, payload_of
from edge_agent.feedback.store import Entry, Store
from edge_agent.feedback.verify import verify


def entry(kind: str, payload: Mapping[str, Any], blobs: tuple[bytes, ...] = (), about: tuple[int, ...] = ()) -> Entry:
    return Entry(kind, "p1", "acme", "site", 1, 2, encode(payload), blobs, about)


def note(what: Mapping[str, Any]) -> Entry:
    return entry("agent", what)._replace(lasting=True)


def rows(folder: Path) -> dict[int, Row]:
    with Reader(folder) as reader:
        return {row.seq: row for row in reader.after(Cursor(), 1_000_000)}


def steps(store: Store, max_size: float, most: int = 10_000) -> int:
    """Drop until it fits, as the writer does."""
    for count in range(most):
        if store.size() <= max_size or retention.step(store, max_size, note) is None:
            return count
    raise AssertionError("retention does not come to an end")


def filled(folder: Path, count: int = 300) -> Store:
    """Windows with blobs; every tenth is labelled; an intent after every twentieth."""
    store = Store(folder, 1, 0)
    entries: list[Entry] = []
    for n in range(count):
        entries.append(entry("window", {"n": n, "x": "y" * 400}, (b"%d" % (n // 3) * 300,)))
        if n % 10 == 0:
            seq = len(entries)
            entries.append(entry("label", {"about": [seq], "value": "ok"}, about=(seq,)))
        if n % 20 == 0:
            entries.append(entry("intent", {"n": n, "x": "z" * 400}))
    store.write(entries)
    return store


def test_unlabelled_goes_first_oldest_first(tmp_path: Path) -> None:
    store = filled(tmp_path)
    steps(store, store.size() * 0.8)
    found = rows(tmp_path)
    plain = [row.payload is not None for row in found.values() if row.worth == 0]
    assert not all(plain)
    assert plain == sorted(plain), "what is dropped is older than what is kept"
    assert all(row.payload is not None for row in found.values() if row.worth > 0)
    assert verify(tmp_path).ok
    store.close()


def test_the_audit_trail_goes_last(tmp_path: Path) -> None:
    store = filled(tmp_path)
    floor = store.size()
    while any(row.payload is not None and row.worth < 2 for row in rows(tmp_path).values()):
        assert all(row.payload is not None for row in rows(tmp_path).values() if row.kind == "intent")
        assert retention.step(store, floor * 10, note) is not None
    while all(row.payload is not None for row in rows(tmp_path).values() if row.kind == "intent"):
        assert retention.step(store, floor * 10, note) is not None
    assert verify(tmp_path).ok
    store.close()


def test_a_disk_that_others_fill_costs_only_what_is_unlabelled(tmp_path: Path) -> None:
    store = filled(tmp_path)
    while retention.step(store, 1e6, note, spare=True):
        pass
    found = rows(tmp_path)
    assert all(row.payload is None for row in found.values() if row.worth == 0)
    assert all(row.payload is not None for row in found.values() if row.worth > 0)
    store.close()


def test_a_blob_lives_as_long_as_any_record_names_it(tmp_path: Path) -> None:
    store = Store(tmp_path, 1, 0)
    store.write([entry("window", {"n": 1}, (b"shared", b"own"))])
    store.write([entry("intent", {"n": 2}, (b"shared",))])
    retention.step(store, 1e6, note, spare=True)
    names = {path.read_bytes() for path in (tmp_path / "blobs").rglob("*") if path.is_file()}
    assert names == {b"shared"}
    store.close()


def test_empty_records_become_one_hole_that_the_chain_vouches_for(tmp_path: Path) -> None:
    store = Store(tmp_path, 1, 0)
    store.write([entry("sample", {"n": n}) for n in range(4000)])
    steps(store, 150_000)
    report = verify(tmp_path)
    assert report.ok, report.findings
    assert report.removed_records > 1000
    with Reader(tmp_path) as reader:
        assert len(reader.holes()) < 50
    store.close()
    again = Store(tmp_path, 2, 0)
    assert again.seq == report.last
    again.write([entry("intent", {})])
    assert verify(tmp_path).ok
    again.close()


def test_single_records_between_audited_ones_go_too_and_what_is_said_of_it_takes_no_room(tmp_path: Path) -> None:
    store = Store(tmp_path, 1, 0)
    for _ in range(20):
        store.write([entry("intent" if n % 2 else "sample", {"n": n}) for n in range(400)])
        steps(store, 100_000)
    with Reader(tmp_path) as reader:
        said = [payload_of(row) for row in reader.after(Cursor(), 100_000) if row.kind == "agent" and row.payload is not None]
    assert any(what["dropped"] == "summary" for what in said)
    assert len(said) < 130
    report = verify(tmp_path)
    assert report.ok, report.findings
    assert report.removed_records > 3000
    store.close()


def test_a_step_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    store = filled(tmp_path, 30)
    before = rows(tmp_path)
    store.db.execute("PRAGMA query_only=1")
    try:
        retention.step(store, 1.0, note)
    except sqlite3.OperationalError:
        store.roll_back()
    assert rows(tmp_path) == before
    store.close()


KINDS = st.sampled_from(["sample", "window", "intent", "label", "gap", "decision"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 600), st.booleans()), min_size=1, max_size=60), st.integers(1, 200_000), st.integers(0, 40))
def test_whatever_is_written_and_dropped_the_chain_verifies(what: list[tuple[str, int, bool]], max_size: int, most: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder, 1, 0)
        for n, (kind, size, blob) in enumerate(what):
            about = (max(1, n // 2),) if kind == "label" else ()
            store.write([entry(kind, {"n": n, "x": "y" * size}, (b"%d" % (n % 7),) if blob else (), about)])
            if n % 10 == 9:
                retention.step(store, max_size, note)
        for _ in range(most):
            if retention.step(store, max_size, note) is None:
                break
        report = verify(folder)
        assert report.ok, report.findings
        assert report.records + report.removed_records == store.seq
        store.close()
