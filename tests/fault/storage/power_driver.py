"""Cuts the power of a disk under a living ledger, again and again. Run by test_power_cut.py, in a mount namespace of its own.

python power_driver.py FOLDER POINTS SEED VARIANT        prints one line of JSON

A writer works on an ext4 on the recording disk; every acknowledgement is noted with its place in the disk's log. Then, for
random places in that log, a disk is made as the mains could have left it there: everything up to the last flush, and of what was
written since then any part, in any order, torn at any sector. It is mounted, and the agent's own code opens what is on it.

VARIANT: "full" as the agent is; "normal" commits without fsync (the control: it must lose); "rename" replaces files without fsync.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recording_disk import Entry, read_log

from edge_agent.clock import SystemClock
from edge_agent.errors import LedgerError
from edge_agent.feedback import blobs, schema
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import Row, payload_of
from edge_agent.feedback.verify import verify
from edge_agent.feedback.writer import Identity, Limits

SIZE = 24 << 20
_SECTOR = 512
_ACK = struct.Struct("<cqqqq")  # what, place in the log, epoch, seq, n
_LIVES = 4


class Ack(NamedTuple):
    """Something that the writer said is safe."""

    what: bytes  # A: a record appended; S: a batch of samples; F: a file replaced
    place: int
    epoch: int
    seq: int
    n: int


# ---------------------------------------------------------------- the writer


class Acks:
    """Writes acknowledgements to a file, each with the disk's place at this moment."""

    def __init__(self, out: Path, counter: Path) -> None:
        self._out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with counter.open("rb") as file:
            self._counter = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def note(self, what: bytes, epoch: int, seq: int, n: int) -> None:
        os.write(self._out, _ACK.pack(what, int.from_bytes(self._counter[:8], "little"), epoch, seq, n))


async def write(disk: Path, acks: Acks, life: int, seconds: float) -> None:
    """Append intents, blobs and samples, and replace a state file, for a while. The third life is short of room."""
    limits = Limits(max_size=2e6 if life == 2 else 2e9, min_free=0)
    ledger = Ledger(disk / "ledger", identity=Identity("a1", "acme"), clock=SystemClock(), limits=limits)
    ledger.start()
    until, n = time.monotonic() + seconds, life * 100_000
    while time.monotonic() < until:
        n += 1
        ledger.append_many([Line("sample", {"n": n, "k": k}) for k in range(10)], lambda n=n: acks.note(b"S", ledger.epoch, 0, n))
        data = [b"%d" % n * 100] if n % 3 == 0 else []
        seq = await ledger.append("intent", {"n": n, "x": "y" * 300}, blobs=data)
        acks.note(b"A", ledger.epoch, seq, n)
        if n % 4 == 0:
            blobs.write_durably(disk / "state.json", json.dumps({"n": n, "x": "z" * 3000}).encode())
            acks.note(b"F", 0, 0, n)
    os._exit(0)  # as it is: no last commit, no clean close


def weaken(variant: str) -> None:
    """Take the guard away that the control is to show."""
    if variant == "normal":
        opened = schema.open_writer

        def without_fsync(path: Path) -> sqlite3.Connection:
            db = opened(path)
            db.execute("PRAGMA synchronous=NORMAL")
            return db

        schema.open_writer = without_fsync
    elif variant == "rename":

        def without_fsync_of_the_file(path: Path, data: bytes) -> None:
            part = path.with_name(path.name + ".part")
            part.write_bytes(data)
            part.replace(path)

        blobs.write_durably = without_fsync_of_the_file


# ---------------------------------------------------------------- recording


@dataclass
class Recording:
    """What the disk saw, and what was acknowledged when."""

    entries: list[Entry]
    acks: list[Ack]
    first: int  # place where the writer began


def record(folder: Path, variant: str, seconds: float) -> Recording:
    """Let the writer live and die a few times on a recording disk."""
    under, disk = folder / "under", folder / "disk"
    for path in (under, disk):
        path.mkdir(parents=True)
    log, counter = folder / "log", folder / "counter"
    program = [sys.executable, str(Path(__file__).with_name("recording_disk.py"))]
    server = subprocess.Popen([*program, under, folder / "image", str(SIZE), log, counter], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"READY\n"
    try:
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=4", str(under / "disk"))
        run("mount", "-o", "loop", str(under / "disk"), str(disk))
        run("sync", "-f", str(disk))
        first = int.from_bytes(counter.read_bytes(), "little")
        for life in range(_LIVES):
            in_a_child(lambda life=life: live(disk, folder, variant, life, seconds / _LIVES))
        last = int.from_bytes(counter.read_bytes(), "little")
    finally:
        run("umount", "-l", str(disk), check=False)
        run("umount", "-l", str(under), check=False)
        server.kill()
        server.wait()
    acks = [Ack._make(fields) for fields in _ACK.iter_unpack((folder / "acks").read_bytes())]
    return Recording(list(read_log(log))[:last], acks, first)


def live(disk: Path, folder: Path, variant: str, life: int, seconds: float) -> None:
    weaken(variant)
    asyncio.run(write(disk, Acks(folder / "acks", folder / "counter"), life, seconds))


# ---------------------------------------------------------------- cutting


def cuts(recording: Recording, points: int, chance: random.Random) -> Iterator[tuple[int, bytearray]]:
    """For random places in the log, oldest first: the disk as the mains could have left it there."""
    places = sorted(chance.randint(recording.first, len(recording.entries)) for _ in range(points))
    safe, done, cached = bytearray(SIZE), 0, []
    for place in places:
        for entry in recording.entries[done:place]:
            if entry.flush:
                for written in cached:
                    put(safe, written)
                cached = []
            else:
                cached.append(entry)
        done = place
        image = bytearray(safe)
        for entry in survivors(cached, chance):
            put(image, entry)
        yield place, image


def survivors(cached: list[Entry], chance: random.Random) -> list[Entry]:
    """What of the disk's cache made it, in which order: all, none, or any part, torn at any sector."""
    how = chance.random()
    if how < 0.1:
        return cached
    if how < 0.2:
        return []
    share, torn = chance.random(), chance.random() * 0.5
    kept = [tear(entry, chance) if chance.random() < torn else entry for entry in cached if chance.random() < share]
    chance.shuffle(kept)
    return kept


def tear(entry: Entry, chance: random.Random) -> Entry:
    """Only some neighbouring sectors of a write."""
    sectors = len(entry.data) // _SECTOR
    start = chance.randint(0, max(0, sectors - 1))
    end = chance.randint(start + 1, sectors) if sectors else 1
    return Entry(entry.offset + start * _SECTOR, entry.data[start * _SECTOR : end * _SECTOR], False)


def put(image: bytearray, entry: Entry) -> None:
    image[entry.offset : entry.offset + len(entry.data)] = entry.data


# ---------------------------------------------------------------- looking


@dataclass
class Found:
    """What was on the disks after the cuts."""

    points: int = 0
    unmountable: int = 0
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    lossy_points: int = 0
    checked: int = 0
    unflushed: int = 0  # points at which something lay in the disk's cache


def look(disk: Path, acks: list[Ack]) -> dict[str, Any]:
    """Open what is there with the agent's own code; which acknowledged things are missing, and what is wrong."""
    ledger = Ledger(disk / "ledger", identity=Identity("a1", "acme"), clock=SystemClock(), limits=Limits(min_free=0))
    ledger.start()
    corrupt = [] if ledger.healthy else [f"not healthy: {ledger.status()['trouble']}"]
    ledger.close()
    corrupt += [path.name for path in (disk / "ledger").glob("set-aside-*")]
    corrupt += verify(disk / "ledger").findings
    with Reader(disk / "ledger") as reader:
        there = There({row.seq: row for row in reader.after(Cursor(), 1_000_000)}, reader.holes())
        corrupt += [f"declared: {gap}" for gap in there.gaps() if gap["event"] == "acknowledged records are gone"]
        lost = [why for ack in acks if (why := there.lacks(ack))]
    return {"lost": lost + lacks_file(disk / "state.json", [ack.n for ack in acks if ack.what == b"F"]), "corrupt": corrupt}


class There:
    """What is in the ledger, as the acknowledgements need it."""

    def __init__(self, rows: dict[int, Row], holes: list[tuple[int, int, bytes, bytes]]) -> None:
        self._rows, self._holes = rows, holes
        samples = [row for row in rows.values() if row.kind == "sample" and row.payload is not None]
        self._samples = Counter((row.epoch, payload_of(row)["n"]) for row in samples)

    def gaps(self) -> list[dict[str, Any]]:
        return [payload_of(row) for row in self._rows.values() if row.kind == "gap"]

    def lacks(self, ack: Ack) -> str:
        """What of an acknowledgement is not true; "" if all is. What retention dropped is vouched for: verify has seen to it."""
        if ack.what == b"S":
            return "" if self._samples[ack.epoch, ack.n] == 10 else f"samples {ack.n}"
        row = self._rows.get(ack.seq)
        if ack.what == b"F" or (row is None and any(first <= ack.seq <= last for first, last, _, _ in self._holes)):
            return ""
        right = row is not None and (row.payload is None or (row.epoch, payload_of(row)["n"]) == (ack.epoch, ack.n))
        return "" if right else f"record {ack.seq}"


def lacks_file(path: Path, numbers: list[int]) -> list[str]:
    """A replaced file must hold what was acknowledged last, or what was being written after it."""
    try:
        return [f"{path.name} is an older one"] if numbers and json.loads(path.read_text())["n"] < numbers[-1] else []
    except (OSError, ValueError) as e:
        return [f"{path.name}: {e!r}"]


def judge(recording: Recording, folder: Path, points: int, seed: int) -> Found:
    """Mount each disk and look."""
    chance, found = random.Random(seed), Found()
    disk = folder / "after"
    disk.mkdir()
    samples_until = max(a.place for a in recording.acks if a.n < 200_000)  # then comes the life that is short of room
    for place, image in cuts(recording, points, chance):
        found.points += 1
        found.unflushed += not recording.entries[place - 1].flush
        name = folder / f"cut-{found.points}"  # a new name each time: nothing of an older one is in a cache
        name.write_bytes(image)
        if run("mount", "-o", "loop", str(name), str(disk), check=False):
            found.unmountable += 1
            continue
        acks = [a for a in recording.acks if a.place <= place and (a.what != b"S" or place <= samples_until)]
        found.checked += len(acks)
        try:
            told = in_a_child(lambda acks=acks: look(disk, acks)) if (disk / "ledger").exists() or acks else {"lost": [], "corrupt": []}
        finally:
            run("umount", str(disk))
            name.unlink()
        found.lost += [f"cut at {place}: {what}" for what in told["lost"][:5]]
        found.corrupt += [f"cut at {place}: {what}" for what in told["corrupt"][:5]]
        found.lossy_points += bool(told["lost"] or told["corrupt"])
    return found


# ---------------------------------------------------------------- processes


def in_a_child(work: Callable[[], Any]) -> Any:
    """Run it in a forked process; its result, or None if it left by itself."""
    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(into)
            result = work()
            with os.fdopen(out, "w") as pipe:
                json.dump(result, pipe)
        except LedgerError as e:
            with os.fdopen(out, "w") as pipe:
                json.dump({"lost": [], "corrupt": [f"refused: {e}"]}, pipe)
        except BaseException as e:  # noqa: BLE001 - a child must not go on as its parent
            print(repr(e), file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGABRT)
        os._exit(0)
    os.close(out)
    with os.fdopen(into) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        return {"lost": [], "corrupt": [f"the child ended with {status}"]}
    return json.loads(said) if said else None


def run(*command: str, check: bool = True) -> int:
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode()}")
    return done.returncode


if __name__ == "__main__":
    place, points, seed, variant = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    recorded = record(place, variant, float(sys.argv[5]))
    result = judge(recorded, place, points, seed)
    said = {ack.what.decode() for ack in recorded.acks}
    print(json.dumps({**vars(result), "acks": len(recorded.acks), "kinds": sorted(said), "entries": len(recorded.entries)}))
