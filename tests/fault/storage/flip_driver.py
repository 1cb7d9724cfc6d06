"""Flips one bit of a ledger's files and looks what becomes of it. Run by test_bit_flips.py.

python flip_driver.py FOLDER FLIPS SEED [blind]      prints one line of JSON

FOLDER/clean and FOLDER/cut hold two ledgers: one closed, one whose writer was killed, with its write-ahead log. Each flip works on
a fresh copy, in a child process, so that a crash is seen as one. `blind`: nobody checks hashes (the control: changes go unseen).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.errors import LedgerError
from edge_agent.feedback import row as rows_of
from edge_agent.feedback import store, verify
from edge_agent.feedback.chain import GENESIS
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.writer import Identity, Limits

_BATCH = 100  # flips in one child
_HANG_S = 20


def ledger_at(folder: Path, limits: Limits | None = None) -> Ledger:
    return Ledger(folder, identity=Identity("a1", "acme"), clock=SystemClock(), limits=limits or Limits(min_free=0), retry_s=0.05)


# ---------------------------------------------------------------- the ledgers


async def _fill(ledger: Ledger) -> None:
    for n in range(60):
        seq = await ledger.append("window", {"n": n, "x": "y" * 200}, loop="p1", blobs=[b"blob %d " % (n // 2) * 40] if n % 2 else [])
        if n % 10 == 0:
            await ledger.append("label", {"about": [seq], "value": "ok"}, loop="p1")
            await ledger.append("mode", {"from": "armed", "to": "lockout", "reason": "x"}, loop="p1")
    ledger.append_many([Line("sample", {"n": n}) for n in range(30)])
    await ledger.append("intent", {"tag": "speed", "value": -10.0}, loop="p1")


def build(folder: Path, *, killed: bool) -> None:
    """A ledger with two epochs, blobs, labels and a hole."""
    first = ledger_at(folder, Limits(max_size=110_000, min_free=0))
    first.start()
    asyncio.run(_fill(first))
    first.close()
    child = os.fork()
    if child == 0:
        second = ledger_at(folder)
        second.start()
        asyncio.run(_fill(second))
        if not killed:
            second.close()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


# ---------------------------------------------------------------- one flip


def content(folder: Path) -> dict[str, Any]:
    """Everything that a reader gets to see."""
    with Reader(folder) as reader:
        rows = {row.seq: tuple(row)[:8] + tuple(row)[9:] for row in reader.after(Cursor(), 100_000)}  # not `worth`: nobody is told
        named = {name for row in reader.after(Cursor(), 100_000) if row.payload is not None for name in rows_of.blobs_of(row)}
        blobs = {name: reader.blobs.path(name).read_bytes() for name in named}
        told = [record.seq for kind in (None, "label", "mode") for record in reader.newest(50, kind)]
        return {"rows": rows, "blobs": blobs, "told": told, "holes": reader.holes(), "last": reader.last()}


def flip(folder: Path, chance: random.Random) -> str:
    """One bit, any file, any place; small files get their share."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size and path.name != "lock")
    main = [path for path in files if path.name.startswith("ledger.sqlite3")]
    path = chance.choice(main if chance.random() < 0.8 else files)
    place = chance.randrange(path.stat().st_size)
    if chance.random() < 0.3:
        place = chance.randrange(min(256, path.stat().st_size))  # headers are a small target that matters much
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return f"{path.relative_to(folder)}:{place}"


def judge(folder: Path, before: dict[str, Any]) -> str:
    """`detected`, `harmless`, or what went wrong."""
    seen, shown = read(folder, before)
    verified = verified_well(folder)
    found = started(folder)
    if found.startswith("BAD"):
        return found
    if not kept(folder, before):
        return "BAD: a blob was deleted"
    if not verified or found == "detected" or seen == "refused":
        return "detected"
    if not shown:
        return "BAD: what is shown has changed, and nobody says so"
    after = content(folder)
    same = all(after["rows"].get(seq) == row for seq, row in before["rows"].items())
    return "harmless" if same and verified_well(folder) else "BAD: changed by the start"


def read(folder: Path, before: dict[str, Any]) -> tuple[str, bool]:
    try:
        now = content(folder)
    except (LedgerError, OSError):
        return "refused", True
    return "read", now == before


def verified_well(folder: Path) -> bool:
    try:
        return verify.verify(folder).ok
    except LedgerError:
        return False


def started(folder: Path) -> str:
    """Start the agent's ledger on it, append, close."""
    ledger = ledger_at(folder)
    try:
        ledger.start()
    except LedgerError:
        return "detected"  # refused, untouched: a flipped version number looks like a newer file
    try:
        asyncio.run(_append(ledger))
    except (LedgerError, TimeoutError):
        return f"BAD: never written again: {ledger.status()['trouble']}"
    finally:
        ledger.close()
    with Reader(folder) as reader:
        said = [record.payload.get("event") for record in reader.newest(5, "gap")]
    return "detected" if {"set aside", "acknowledged records are gone"} & set(said) else "ok"


async def _append(ledger: Ledger) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                await ledger.append("intent", {"after": "the flip"})
            except LedgerError:
                await asyncio.sleep(0.02)
            else:
                return


def kept(folder: Path, before: dict[str, Any]) -> bool:
    """Whether every blob still lies somewhere, changed or not, set aside or not."""
    there = {path.name for path in folder.rglob("*")}
    return before["blobs"].keys() <= there


def blind() -> None:
    """Nobody checks a hash any more, nor what SQLite thinks of its pages."""
    rows_of.fault_of = store.fault_of = verify.fault_of = lambda row: None
    store.check_tail = lambda db, count=0: db.execute("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1").fetchone() or (0, GENESIS)
    verify._Walk._check_blobs = lambda self, row: None
    Reader.faults = lambda self: []


# ---------------------------------------------------------------- many flips


def flips(folder: Path, count: int, seed: int, scratch: Path) -> Iterator[tuple[str, str]]:
    """(what came of it, where the bit was), one after the other."""
    for start in range(0, count, _BATCH):
        yield from batch(folder, range(start, min(count, start + _BATCH)), seed, scratch)


def batch(folder: Path, numbers: range, seed: int, scratch: Path) -> Iterator[tuple[str, str]]:
    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(into)
        before = {}
        for name in ("clean", "cut"):
            shutil.copytree(folder / name, scratch / f"before-{name}", dirs_exist_ok=True)
            before[name] = content(scratch / f"before-{name}")
        for number in numbers:
            signal.alarm(_HANG_S)
            chance = random.Random(seed * 1_000_003 + number)
            kind = "cut" if number % 3 == 0 else "clean"
            copy = scratch / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder / kind, copy)
            where = f"{kind}/{flip(copy, chance)}"
            os.write(out, json.dumps(["began", where]).encode() + b"\n")
            try:
                said = judge(copy, before[kind])
            except Exception as e:  # noqa: BLE001 - whatever it is: a crash of the agent
                said = f"BAD: {e!r}"
            os.write(out, json.dumps([said, where]).encode() + b"\n")
        os._exit(0)
    os.close(out)
    last = None
    with os.fdopen(into) as pipe:
        for line in pipe:
            said, where = json.loads(line)
            last = where if said == "began" else None
            if said != "began":
                yield said, where
    _, status = os.waitpid(child, 0)
    if status:
        yield f"BAD: the process ended with {status}", str(last)


if __name__ == "__main__":
    place, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for name, killed in (("clean", False), ("cut", True)):
        if not (place / name).exists():
            build(place / name, killed=killed)
    if "blind" in sys.argv:
        blind()
    counts: Counter[str] = Counter()
    bad: list[str] = []
    for said, where in flips(place, count, seed, place):
        counts[said.partition(":")[0]] += 1
        if said.startswith("BAD"):
            bad.append(f"{where}: {said}")
    print(json.dumps({**counts, "bad": bad[:100]}))
