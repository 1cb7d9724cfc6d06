"""Does every kind of tampering show?"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import LedgerDamaged, LedgerError
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.schema import FILE
from edge_agent.feedback.verify import verify

pytestmark = pytest.mark.anyio


@pytest.fixture
async def closed(open_ledger: Callable[..., Ledger], folder: Path) -> Path:
    """A closed ledger: started, then records 2 to 9, each with a blob."""
    ledger = open_ledger()
    for n in range(8):
        await ledger.append("window", {"n": n, "text": "marker"}, loop="p1", blobs=[b"blob %d" % n])
    ledger.close()
    return folder


def change(folder: Path, sql: str, *values: object) -> None:
    db = sqlite3.connect(folder / "current" / FILE)
    db.execute(sql, values)
    db.commit()
    db.close()


async def test_an_untouched_ledger_verifies(closed: Path) -> None:
    report = verify(closed)
    assert (report.ok, report.records, report.first, report.last, report.blobs) == (True, 9, 1, 9, 8)
    assert report.kinds == {"agent": 1, "window": 8}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("epoch", 1),
        ("kind", "gap"),
        ("loop", "p2"),
        ("wall_ns", 1),
        ("mono_ns", 1),
        ("owner", "else"),
        ("share", "consortium"),
        ("payload_sha256", "00"),
        ("blobs", None),
        ("prev", bytes(32)),
        ("hash", bytes(32)),
        ("blobs", "not json"),
        ("wall_ns", "text"),
    ],
)
async def test_any_changed_field_is_found(closed: Path, column: str, value: object) -> None:
    change(closed, f"UPDATE record SET {column} = ? WHERE seq = 5", value)
    report = verify(closed)
    assert not report.ok
    assert any("record 5" in what or "record 6" in what for what in report.findings)


@pytest.mark.parametrize("data", [b"{}", "text"])
async def test_a_changed_payload_is_found(closed: Path, data: object) -> None:
    change(closed, "UPDATE payload SET data = ? WHERE seq = 5", data)
    assert verify(closed).findings == ["record 5: its payload is not the one that was hashed"]


async def test_a_single_changed_byte_of_the_file_is_found(closed: Path) -> None:
    file = closed / "current" / FILE
    data = bytearray(file.read_bytes())
    data[data.find(b"marker")] ^= 1
    file.write_bytes(data)
    assert any("its payload is not the one that was hashed" in what for what in verify(closed).findings)


async def test_a_removed_record_is_found(closed: Path) -> None:
    change(closed, "DELETE FROM record WHERE seq = 5")
    assert verify(closed).findings == ["records 5 to 5 are missing"]


async def test_a_removed_record_with_a_forged_hole_is_found(closed: Path) -> None:
    change(closed, "INSERT INTO hole SELECT seq, seq, prev, hash FROM record WHERE seq = 5")
    change(closed, "DELETE FROM record WHERE seq = 5")
    assert verify(closed).findings == ["records 5 to 5 were removed, and no retention record says why"]


async def test_a_removed_payload_is_found(closed: Path) -> None:
    change(closed, "DELETE FROM payload WHERE seq = 5")
    assert verify(closed).findings == ["records 5 to 5: the payload is missing, and no retention record says why"]


@pytest.mark.parametrize("missing", [True, False])
async def test_a_missing_or_changed_blob_is_found(closed: Path, missing: bool) -> None:
    (blob, *_) = sorted(f for f in (closed / "current" / "blobs").rglob("*") if f.is_file())
    blob.unlink() if missing else blob.write_bytes(b"other")
    (finding,) = verify(closed).findings
    assert f"blob {blob.name} is missing or changed" in finding


async def test_a_file_that_is_no_ledger_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(LedgerDamaged, match="is not a ledger"):
        verify(tmp_path)
    with pytest.raises(LedgerError, match="there is no ledger yet"):
        verify(tmp_path / "nothing")


async def test_a_living_ledger_can_be_verified(ledger: Ledger, folder: Path) -> None:
    await ledger.append("intent", {})
    seen: list[tuple[int, int]] = []
    assert verify(folder, lambda done, total: seen.append((done, total))).ok
