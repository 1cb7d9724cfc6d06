"""The disk fills up, fails, loses its inodes or the file itself: the agent holds, says why, and goes on by itself. It never ends."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_disk import SmallDisk, Switch
from whole_agent import WholeAgent, until

from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.feedback.verify import verify

Figure = Callable[..., None]
Act = Callable[[], None]
RECOVERS_S = 10.0

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("mounts"), pytest.mark.timeout(180)]


class Theatre:
    """The whole agent with its state on a small disk."""

    def __init__(self, memory: Path, folder: Path) -> None:
        self.disk = SmallDisk(memory)
        self.switch = Switch(memory, self.disk.folder)
        self.agent = WholeAgent(folder, state=self.disk.folder / "state", min_free="1 kB")
        self.ledger = self.agent.state / "ledger"

    def start(self, *options: str) -> None:
        """Until it is armed and what it acknowledges lies on the disk."""
        self.agent.start_control(*options, preload=self.switch.environment)
        until("the loop to be armed", self.agent.arm)
        until("twenty batches", lambda: len(self.agent.acknowledged()) > 20)

    def end(self) -> None:
        self.agent.kill()
        self.disk.unmount()

    def status(self, part: str) -> dict[str, Any]:
        found: dict[str, Any] = self.agent.ask(do="status").get(part, {})
        return found

    def alive(self) -> bool:
        return self.agent.control is not None and self.agent.control.poll() is None

    def settled(self) -> int:
        """The newest acknowledgement, once nothing is on its way any more."""
        time.sleep(1.0)
        return self.agent.newest_acknowledged()


@pytest.fixture
def theatre(memory: Path, tmp_path: Path) -> Iterator[Theatre]:
    made = Theatre(memory, tmp_path)
    yield made
    made.end()


TROUBLES: dict[str, Callable[[Theatre], tuple[Act, Act]]] = {
    "full": lambda t: (t.disk.fill, t.disk.make_room),
    "turned read-only": lambda t: (t.disk.break_down, t.disk.repair),
    "EIO on write": lambda t: (lambda: t.switch.fail("write"), t.switch.fail),
    "EIO on fsync": lambda t: (lambda: t.switch.fail("fsync"), t.switch.fail),
    "EROFS": lambda t: (lambda: t.switch.fail("write", "open", number=errno.EROFS), t.switch.fail),
    "EIO on all": lambda t: (lambda: t.switch.fail("write", "fsync", "read", "open"), t.switch.fail),
}
QUICK = ("full", "EIO on fsync")


def held(theatre: Theatre) -> dict[str, Any]:
    """The loop's page once it holds for the ledger's sake, and the ledger says what is wrong."""
    loop = theatre.agent.loop()
    return loop if loop.get("mode") == "hold" and "ledger" in loop["why"] and theatre.status("ledger").get("trouble") else {}


def comes_back(theatre: Theatre, begin: Act, end: Act) -> tuple[float, str]:
    """Seconds from the end of the trouble to the next acknowledgement with the loop out of that hold, and what was said."""
    begin()
    until("the loop to hold for the ledger's sake", lambda: held(theatre), 60)
    said = str(theatre.status("ledger")["trouble"])
    before = theatre.settled()
    time.sleep(2.0)
    assert theatre.agent.newest_acknowledged() == before, "nothing is acknowledged that is not on the disk"
    assert theatre.alive()
    end()
    began = time.monotonic()
    until("an acknowledgement after the trouble", lambda: theatre.agent.newest_acknowledged() > before, 2 * RECOVERS_S)
    until("the loop to leave its hold", lambda: theatre.agent.loop() and not held(theatre), 2 * RECOVERS_S)
    return time.monotonic() - began, said


@pytest.mark.parametrize("trouble", [t if t in QUICK else pytest.param(t, marks=pytest.mark.torture) for t in TROUBLES])
def test_it_holds_says_why_and_recovers(theatre: Theatre, trouble: str, figure: Figure) -> None:
    holds_and_recovers(theatre, trouble, figure)


@pytest.mark.torture
@pytest.mark.parametrize("trouble", QUICK)
def test_the_quick_ones_belong_to_the_table_too(theatre: Theatre, trouble: str, figure: Figure) -> None:
    holds_and_recovers(theatre, trouble, figure)


def holds_and_recovers(theatre: Theatre, trouble: str, figure: Figure) -> None:
    theatre.start()
    begin, end = TROUBLES[trouble](theatre)
    took_s, said = comes_back(theatre, begin, end)
    assert took_s < RECOVERS_S
    time.sleep(1.0)
    assert theatre.agent.stop() == 0
    assert verify(theatre.ledger).findings == []
    acknowledged = theatre.agent.acknowledged()
    assert acknowledged - theatre.agent.recorded() == set()
    assert not list(theatre.ledger.glob("set-aside-*")), "nothing was damaged"
    assert declared(theatre, "ledger recovered")["lost"] > 0, "what was given up is counted"
    figure(f"disk trouble, {trouble}", acknowledged=len(acknowledged), lost=0, recovered=f"{took_s:.1f} s", said=f"`{short(said)}`")


def short(said: str) -> str:
    return said.partition(": '")[0].replace("|", "/")[:60]


def declared(theatre: Theatre, event: str) -> dict[str, Any]:
    with Reader(theatre.ledger) as reader:
        rows = reader.after(Cursor(), 10_000_000)
    found = [payload_of(row) for row in rows if row.kind == "gap" and payload_of(row).get("event") == event]
    assert found, f"no gap says {event!r}"
    return found[-1]


@pytest.mark.torture
def test_without_inodes_it_goes_on_and_a_persons_no_is_saved_later(theatre: Theatre, figure: Figure) -> None:
    """The ledger's file is there; what needs new files (blobs, what a loop remembers) waits or is declared."""
    theatre.start()
    memory = theatre.agent.state / "loops" / "pump.json"
    until("the arming to be saved", lambda: memory.exists() and json.loads(memory.read_text())["armed_until_ns"])
    theatre.disk.take_inodes()
    theatre.agent.ask(do="disarm", loop="pump", by="ann")
    until("the no to find no room", lambda: "cannot be saved" in theatre.agent.log)
    assert json.loads(memory.read_text())["armed_until_ns"], "the fault bites"
    before = theatre.agent.newest_acknowledged()
    until("acknowledgements all the same", lambda: theatre.agent.newest_acknowledged() > before + 20)
    assert theatre.alive()
    theatre.disk.make_room()
    began = time.monotonic()
    until("the no to be saved", lambda: json.loads(memory.read_text())["armed_until_ns"] is None, RECOVERS_S)
    took_s = time.monotonic() - began
    assert theatre.agent.stop() == 0
    assert verify(theatre.ledger).findings == []
    assert theatre.agent.acknowledged() - theatre.agent.recorded() == set()
    figure("disk trouble, no inodes", acknowledged=len(theatre.agent.acknowledged()), lost=0, recovered=f"{took_s:.1f} s")


@pytest.mark.torture
def test_a_file_that_was_removed_is_missed_declared_and_made_anew(theatre: Theatre, figure: Figure) -> None:
    theatre.start()
    before = theatre.agent.newest_acknowledged()
    for file in (theatre.ledger / "current").glob("ledger.sqlite3*"):
        file.unlink()
    began = time.monotonic()
    until("a new file", lambda: (theatre.ledger / "current" / "ledger.sqlite3").exists(), RECOVERS_S)
    until("an acknowledgement after it", lambda: theatre.agent.newest_acknowledged() > before + 20, RECOVERS_S)
    took_s = time.monotonic() - began
    assert theatre.alive()
    time.sleep(1.0)
    assert theatre.agent.stop() == 0
    gap = declared(theatre, "set aside")
    aside = theatre.ledger / gap["folder"]
    assert (aside / "tip").exists(), "what lay beside it is kept"
    assert verify(theatre.ledger).findings == []
    figure("disk trouble, file removed", recovered=f"{took_s:.1f} s", said=f"`{gap['why']}`", set_aside=1, deleted=0)


@pytest.mark.torture
def test_a_damaged_file_is_set_aside_whole_and_reported(theatre: Theatre, figure: Figure) -> None:
    theatre.start()
    assert theatre.agent.control is not None
    theatre.agent.control.kill()
    theatre.agent.control.wait()
    current = theatre.ledger / "current"
    with (current / "ledger.sqlite3").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    (current / "ledger.sqlite3-wal").write_bytes(b"")
    there = {
        str(path.relative_to(current)): path.stat().st_size for path in current.rglob("*") if path.is_file() and "-shm" not in path.name
    }
    before = theatre.agent.newest_acknowledged()
    theatre.agent.start_control(preload=theatre.switch.environment)
    until("an acknowledgement in the new file", lambda: theatre.agent.newest_acknowledged() > before)
    assert theatre.agent.stop() == 0
    gap = declared(theatre, "set aside")
    aside = theatre.ledger / gap["folder"]
    kept = {name: (aside / name).stat().st_size for name in there if (aside / name).exists()}
    assert kept.keys() | {"ledger.sqlite3-wal"} == there.keys(), "SQLite itself removes an empty log; nothing else goes"
    assert kept["ledger.sqlite3"] == there["ledger.sqlite3"]
    assert "set aside" in theatre.agent.log
    assert verify(theatre.ledger).findings == []
    figure("disk trouble, damaged file", set_aside=1, deleted=0, said=f"`{short(gap['why'])}`")


@pytest.mark.control
def test_an_agent_that_acknowledges_too_early_loses_on_a_full_disk(theatre: Theatre, figure: Figure) -> None:
    theatre.start("early")
    theatre.disk.fill()
    until("the loop to hold for the ledger's sake", lambda: held(theatre), 60)
    before = theatre.agent.newest_acknowledged()
    until("acknowledgements of what is nowhere", lambda: theatre.agent.newest_acknowledged() > before + 10)
    theatre.disk.make_room()
    theatre.agent.stop()
    lost = len(theatre.agent.acknowledged() - theatre.agent.recorded())
    assert lost > 10
    figure("disk trouble, control that acks early", full=1, lost=lost)
