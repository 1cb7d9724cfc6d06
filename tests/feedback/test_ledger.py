"""Is what was acknowledged on disk, in order, by one writer; and does trouble with the disk hold and heal?"""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from edge_agent.clock import ManualClock
from edge_agent.errors import LedgerError
from edge_agent.feedback import queue, writer
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.schema import FILE, NewerLedger
from edge_agent.feedback.store import Entry, Store
from edge_agent.feedback.verify import verify
from edge_agent.feedback.writer import Limits

pytestmark = pytest.mark.anyio

Open = Callable[..., Ledger]


def records(folder: Path) -> list[Any]:
    with Reader(folder) as reader:
        return reader.newest(10_000)[::-1]


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def heals(ledger: Ledger) -> None:
    with anyio.fail_after(5):
        while not ledger.healthy:  # noqa: ASYNC110 - it heals on a thread of its own
            await anyio.sleep(0.002)


async def test_an_appended_record_is_on_disk_when_append_returns(ledger: Ledger, folder: Path) -> None:
    seq = await ledger.append("intent", {"tag": "speed", "value": -200}, loop="p1")
    found = records(folder)[-1]
    assert (found.seq, found.kind, found.loop, found.share, found.owner) == (seq, "intent", "p1", "company", "acme")
    assert found.payload == {"tag": "speed", "value": -200}


async def test_the_first_record_says_that_the_agent_started(ledger: Ledger, folder: Path) -> None:
    assert [(r.kind, r.payload["event"]) for r in records(folder)] == [("agent", "started")]


async def test_seqs_are_dense_in_the_order_of_appending(ledger: Ledger, folder: Path) -> None:
    seqs = await asyncio.gather(*(ledger.append("label", {"n": n}) for n in range(300)))
    assert seqs == list(range(2, 302))
    assert [r.payload["n"] for r in records(folder)[1:]] == list(range(300))


async def test_records_that_come_together_share_a_commit(ledger: Ledger) -> None:
    before = ledger.status()["commits"]
    await asyncio.gather(*(ledger.append("label", {"n": n}) for n in range(500)))
    assert ledger.status()["commits"] - before < 50


async def test_a_record_of_no_loop_stays_on_the_site(ledger: Ledger, folder: Path) -> None:
    await ledger.append("operator", {})
    assert records(folder)[-1].share == "site"


async def test_samples_are_acknowledged_after_their_commit(ledger: Ledger, folder: Path) -> None:
    done = threading.Event()
    seen: list[int] = []

    def acknowledge() -> None:
        seen.append(len(records(folder)))
        done.set()

    assert ledger.append_many([Line("sample", {"n": n}) for n in range(3)], acknowledge)
    assert await asyncio.to_thread(done.wait, 5)
    assert seen == [4]


async def test_an_intent_does_not_wait_for_samples_to_gather(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LINGER_S", 60.0)
    ledger.append_many([Line("sample", {})])
    with anyio.fail_after(5):
        await ledger.append("intent", {})


async def test_a_callback_that_fails_costs_the_others_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        raise ValueError("not my day")

    ledger.append_many([Line("sample", {})], fail)
    assert await ledger.append("intent", {}) == 3
    assert ledger.status()["faults"] == 1
    assert ledger.healthy


def test_a_full_queue_refuses_and_counts() -> None:
    waiting = queue.Queue(max_records=2)
    one = queue.Pending([Entry("sample", None, "acme", "site", 0, 0, b"{}")], False, lambda result: None)
    waiting.put(one)
    waiting.put(one)
    with pytest.raises(LedgerError, match="behind: 2 records"):
        waiting.put(one)
    assert waiting.status() == {"waiting": 2, "most_waiting": 2, "refused": 1, "max_waiting": 2}


def test_a_queue_too_full_in_bytes_refuses() -> None:
    waiting = queue.Queue(max_bytes=10)
    with pytest.raises(LedgerError, match="behind"):
        waiting.put(queue.Pending([Entry("sample", None, "acme", "site", 0, 0, b"x" * 11)], False, lambda result: None))


async def test_what_json_cannot_hold_is_refused_before_it_is_queued(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="a window record of p1 cannot be written"):
        await ledger.append("window", {"x": object()}, loop="p1")
    assert ledger.healthy


async def test_a_blob_is_a_file_named_by_what_is_in_it(ledger: Ledger, folder: Path) -> None:
    await ledger.append("window", {}, blobs=[b"abc", b"abc"])
    name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert records(folder)[-1].blobs == (name, name)
    assert (folder / "current" / "blobs" / "ba" / name).read_bytes() == b"abc"


async def test_a_blob_that_no_record_names_is_swept_at_the_next_start(open_ledger: Open, folder: Path) -> None:
    open_ledger().close()
    stray = folder / "current" / "blobs" / "ab" / "abcd.part"
    stray.parent.mkdir()
    stray.write_bytes(b"half")
    open_ledger()
    assert not stray.exists()


async def test_each_start_is_a_new_epoch_and_seqs_go_on(open_ledger: Open, folder: Path) -> None:
    first = open_ledger()
    first.close()
    second = open_ledger()
    assert second.epoch == first.epoch + 1
    assert [r.seq for r in records(folder)] == [1, 2]


async def test_a_new_disk_begins_at_the_wall_clock_so_that_keys_never_repeat(ledger: Ledger, clock: ManualClock) -> None:
    assert ledger.epoch == clock.wall_ns() // 10**9


async def test_a_lost_epoch_file_does_not_bring_an_epoch_back(open_ledger: Open, folder: Path, clock: ManualClock) -> None:
    first = open_ledger()
    first.close()
    (folder / "epoch").unlink()
    clock.step_wall(-1e6)
    assert open_ledger().epoch == first.epoch + 1


async def test_closing_commits_what_is_queued(open_ledger: Open, folder: Path) -> None:
    ledger = open_ledger()
    ledger.append_many([Line("sample", {"n": n}) for n in range(1000)])
    ledger.close()
    assert len(records(folder)) == 1001
    with pytest.raises(LedgerError):
        await ledger.append("intent", {})


async def test_a_second_writer_is_refused(ledger: Ledger, open_ledger: Open) -> None:
    with pytest.raises(LedgerError, match="another agent writes this ledger"):
        open_ledger()
    assert ledger.healthy


async def test_a_newer_file_is_refused_and_left_untouched(open_ledger: Open, folder: Path) -> None:
    open_ledger().close()
    file = folder / "current" / FILE
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    before = file.read_bytes()
    with pytest.raises(NewerLedger, match="schema 99"):
        open_ledger()
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["header", "middle"])
async def test_a_damaged_file_is_set_aside_whole_and_a_new_epoch_begins(open_ledger: Open, folder: Path, damage: str) -> None:
    first = open_ledger()
    for n in range(30):
        await first.append("window", {"n": n, "x": "y" * 500}, blobs=[b"%d" % n])
    first.close()
    file = folder / "current" / FILE
    data = bytearray(file.read_bytes())
    start = 0 if damage == "header" else data.rfind(b"yyyyyyyyyy")
    data[start : start + 10] = b"0123456789"
    file.write_bytes(data)
    second = open_ledger()
    assert second.epoch > first.epoch
    (aside,) = folder.glob("set-aside-*")  # noqa: ASYNC240
    assert b"0123456789" in (aside / FILE).read_bytes()
    assert len([f for f in (aside / "blobs").rglob("*") if f.is_file()]) == 30
    gap, started = records(folder)
    assert (gap.kind, gap.payload["event"], gap.payload["folder"]) == ("gap", "set aside", aside.name)
    assert (gap.seq, started.kind) == (1, "agent")
    assert verify(folder).ok


class Failing:
    """A disk whose commits fail for a while."""

    def __init__(self) -> None:
        self.broken = False

    def store(self) -> type[Store]:
        disk = self

        class Fragile(Store):
            def write(self, entries: Any) -> list[int]:
                if disk.broken:
                    raise sqlite3.OperationalError("disk I/O error")
                return super().write(entries)

        return Fragile


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Failing:
    failing = Failing()
    monkeypatch.setattr(writer, "Store", failing.store())
    return failing


async def test_a_failed_commit_refuses_holds_and_heals_with_a_declared_gap(disk: Failing, open_ledger: Open, folder: Path) -> None:
    ledger = open_ledger()
    disk.broken = True
    with pytest.raises(LedgerError, match="disk I/O error"):
        await ledger.append("intent", {"n": 1})
    assert not ledger.healthy
    with pytest.raises(LedgerError, match="free or mend the disk"):
        await ledger.append("intent", {"n": 2})
    assert not ledger.append_many([Line("sample", {})], lambda: pytest.fail("acknowledged what was lost"))
    disk.broken = False
    await heals(ledger)
    seq = await ledger.append("intent", {"n": 3})
    found = records(folder)
    assert [r.kind for r in found] == ["agent", "gap", "intent"]
    assert found[1].payload == {"event": "ledger recovered", "why": "disk I/O error", "lost": 3}
    assert seq == 3
    assert {r.epoch for r in found} == {ledger.epoch}
    assert verify(folder).ok


async def test_a_disk_in_trouble_at_the_start_is_no_reason_not_to_start(disk: Failing, open_ledger: Open) -> None:
    disk.broken = True
    ledger = open_ledger()
    assert not ledger.healthy
    disk.broken = False
    await heals(ledger)
    assert await ledger.append("intent", {}) == 2


async def test_a_full_database_holds_and_recovers(ledger: Ledger, folder: Path) -> None:
    """max_page_count is SQLite's own full disk: it gives SQLITE_FULL, and is forgotten when the file is opened again."""
    store = ledger._writer._store
    assert store is not None
    store.db.execute("PRAGMA max_page_count=1")
    with pytest.raises(LedgerError, match="full"):
        for _ in range(100):
            await ledger.append("window", {"x": "y" * 20_000})
    await heals(ledger)
    await ledger.append("intent", {})
    assert verify(folder).ok


async def test_too_little_room_on_the_disk_shows(open_ledger: Open) -> None:
    ledger = open_ledger(Limits(min_free=1e18))
    with anyio.fail_after(5):
        while ledger.room:
            await ledger.append("intent", {})


async def test_bytes_on_disk_stay_bounded(open_ledger: Open, folder: Path) -> None:
    ledger = open_ledger(Limits(max_size=400_000, min_free=0))
    for n in range(40):
        ledger.append_many([Line("sample", {"n": n, "k": k, "x": "y" * 800}) for k in range(50)])
        await ledger.append("intent", {"n": n})
    with anyio.fail_after(5):
        while ledger.status()["bytes"] > 400_000 or (folder / "current" / FILE).stat().st_size > 500_000:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    found = records(folder)
    assert len([r for r in found if r.kind == "intent" and r.payload.get("n") is not None]) == 40
    assert verify(folder).ok


async def test_readers_see_whole_groups_while_the_writer_writes(ledger: Ledger, folder: Path) -> None:
    done = threading.Event()
    seen: list[bool] = []

    def read() -> None:
        while not done.is_set():
            with Reader(folder) as reader:
                seqs = [r.seq for r in reader.newest(2000)][::-1]
            seen.append(seqs == list(range(1, len(seqs) + 1)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asyncio.to_thread, read)
        for n in range(0, 1000, 50):
            await asyncio.gather(*(ledger.append("label", {"n": n + k}) for k in range(50)))
        done.set()
    assert seen
    assert all(seen)


async def test_a_write_ahead_log_that_went_missing_is_declared_and_its_keys_are_not_given_again(open_ledger: Open, folder: Path) -> None:
    first = open_ledger()
    epoch = first.epoch
    first.close()
    second = open_ledger()
    for n in range(5):
        await second.append("window", {"n": n}, blobs=[b"blob %d" % n])
    left = folder.with_name("left")
    shutil.copytree(folder / "current", left)
    second.close()
    (left / f"{FILE}-wal").unlink()
    shutil.rmtree(folder / "current")
    left.rename(folder / "current")
    report = verify(folder)
    assert report.findings == ["records 2 to 7 were acknowledged and are missing"]
    third = open_ledger()
    (gap,) = [r.payload for r in records(folder) if r.kind == "gap"]
    assert gap == {"event": "acknowledged records are gone", "first": 2, "last": 7}
    assert third.epoch == epoch + 2
    assert len(list((folder / "current" / "blobs" / "lost").iterdir())) == 5, "what the lost records named is kept"
    with Reader(folder) as reader:
        assert [row.seq for row in reader.after(Cursor(epoch + 1, 7), 10)] == [2, 3], (
            "a consumer that had the lost ones misses none of the new"
        )


@pytest.mark.parametrize("what", [FILE, f"{FILE}-wal", "."])
async def test_a_file_removed_under_a_running_ledger_holds_and_heals(ledger: Ledger, folder: Path, what: str) -> None:
    epoch = ledger.epoch
    await ledger.append("window", {}, blobs=[b"abc"])
    if what == ".":
        shutil.rmtree(folder / "current")
    else:
        (folder / "current" / what).unlink()
    with pytest.raises(LedgerError, match="not written"):
        await ledger.append("intent", {})
    await heals(ledger)
    seq = await ledger.append("intent", {"n": 2})
    assert records(folder)[-1].payload == {"n": 2}
    assert verify(folder).ok
    if what == FILE:
        assert ledger.epoch > epoch, "no key twice"
        assert records(folder)[0].payload["event"] == "set aside"
        assert found(folder, "set-aside-*/blobs/*/*"), "the blobs were not taken for strays"
    assert seq == ledger.last_seq


async def test_damage_that_only_a_write_meets_sets_the_file_aside(open_ledger: Open, folder: Path) -> None:
    first = open_ledger()
    for n in range(50):
        await first.append("window", {"n": n})
    first.close()
    db = sqlite3.connect(folder / "current" / FILE)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'record_kind'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    with (folder / "current" / FILE).open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    second = open_ledger()
    await heals(second)
    await second.append("intent", {})
    assert found(folder, "set-aside-*")


def test_the_logs_index_has_no_holes_that_a_full_disk_could_kill_us_with(ledger: Ledger, folder: Path) -> None:
    index = (folder / "current" / "ledger.sqlite3-shm").stat()
    assert index.st_blocks * 512 >= index.st_size >= 65536
