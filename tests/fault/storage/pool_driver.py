"""Kills the puller, the API and the writer of a ledger at random, drops replies, and compares the pool with the ledger.

python pool_driver.py FOLDER KILLS SEED [careless]      prints one line of JSON. Run by test_pool_kill.py.

Each victim is a forked process with the agent's own code; they talk HTTP over the loopback. `careless` writes down how far it has come
before what it has pulled is on disk (the control: it must lose).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from edge_agent.api.server import listen, serve
from edge_agent.clock import SystemClock
from edge_agent.config.load import Configuration, Places
from edge_agent.config.model import File
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import blobs_of
from edge_agent.pool import manifest, pull
from edge_agent.pool.client import Client

NAME, TOKEN = "a1", "secret"
_DROPPED = 0.01
_commit = pull._Pull._commit
_MID = (b"g", b"b", b"t")  # page, blob, parquet: pulled, not yet in the manifest


def file_of(folder: Path) -> File:
    agent = {"name": NAME, "owner": "acme", "state": str(folder / "state")}
    said = {"version": 1, "agent": agent, "connectors": {}, "tags": {}, "ledger": {"min_free": "1 B"}}
    return File.model_validate({**said, "api": {"tokens": [{"name": "pool", "token": TOKEN}]}})


def configuration_of(folder: Path) -> Configuration:
    return Configuration(path=None, file=file_of(folder), connectors={}, tags={}, policies={}, hash="", places=Places("", ""))


# ---------------------------------------------------------------- the three


def writer(folder: Path) -> None:
    """An agent's ledger: samples in bulk, intents, blobs now and then."""
    ledger = Ledger.of(file_of(folder), SystemClock())
    ledger.start()

    async def work() -> None:
        while True:
            ledger.append_many([Line("sample", {"t": time.monotonic_ns(), "k": k}) for k in range(10)])
            await ledger.append("window", {"t": time.monotonic_ns()}, blobs=[os.urandom(200)])
            await asyncio.sleep(0.01)

    asyncio.run(work())


class Dropping(httpx.BaseTransport):
    """One reply in a hundred never arrives, though the agent has done what was asked."""

    def __init__(self, chance: random.Random, dropped: Callable[[], None]) -> None:
        self._inner, self._chance, self._dropped = httpx.HTTPTransport(), chance, dropped

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if self._chance.random() < _DROPPED:
            response.close()
            self._dropped()
            raise httpx.ReadError("the reply was dropped", request=request)
        return response


def puller(port: int, into: Path, seed: int, out: int, careless: bool) -> None:
    """Pull again and again; every step is told to whoever kills us, one letter each."""
    if careless:
        pull._Pull._commit = cursor_first
    pull._PAGE, pull._BATCH_RECORDS = 100, 200  # so that there are many steps to be killed in
    letters = {"page": b"g", "blob": b"b", "parquet": b"t", "manifest": b"m", "acknowledged": b"a"}
    transport = Dropping(random.Random(seed), lambda: os.write(out, b"x") and None)
    while True:
        try:
            with Client(f"http://127.0.0.1:{port}", TOKEN, http=httpx.Client(transport=transport, timeout=5)) as client:
                pull.pull(client, into, consumer="pool", progress=lambda agent, step, records: os.write(out, letters[step]) and None)
            time.sleep(0.01)
        except EdgeAgentError as e:
            print(e, file=sys.stderr, flush=True)
            time.sleep(0.02)


def cursor_first(self: Any, before: manifest.Manifest, lines: Any, cursor: Any) -> manifest.Manifest:
    """What looks the same as long as nobody dies in between."""
    written: list[tuple[Path, bytes]] = []
    durably, pull.write_durably = pull.write_durably, lambda path, data: written.append((path, data))
    try:
        after = _commit(self, before, lines, cursor)
    finally:
        pull.write_durably = durably
    time.sleep(0.005)  # what a flush takes on a cheap disk; without it the control loses in two runs of three only
    for path, data in written:
        durably(path, data)
    return after


# ---------------------------------------------------------------- killing


class Victims:
    """The three processes and what the puller was last heard doing."""

    def __init__(self, folder: Path, seed: int, careless: bool) -> None:
        self._folder, self._careless, self._lives = folder, careless, 0
        self._listening = listen("127.0.0.1", 0)
        self._port = self._listening.getsockname()[1]
        self._into, self._out = os.pipe()
        os.set_blocking(self._into, False)
        self.heard = b""
        self.seed = seed
        self.pids = {name: self.start(name) for name in ("writer", "api")}
        time.sleep(0.5)
        self.pids["puller"] = self.start("puller")

    def start(self, name: str) -> int:
        self._lives += 1
        work = {
            "writer": lambda: writer(self._folder),
            "api": lambda: serve(configuration_of(self._folder), SystemClock(), self._listening),
            "puller": lambda: puller(self._port, self._folder / "into", self.seed + self._lives, self._out, self._careless),
        }[name]
        return forked(work)

    def listen_in(self) -> bytes:
        """Every letter since the last time."""
        try:
            found = os.read(self._into, 1 << 20)
        except BlockingIOError:
            found = b""
        self.heard += found
        return found

    def wait_for(self, letter: bytes, most_s: float = 2.0) -> bytes:
        """Until the puller has just done this; what was heard meanwhile."""
        heard, until = self.listen_in(), time.monotonic() + most_s
        while letter not in (new := self.listen_in()) and time.monotonic() < until:
            heard += new
            time.sleep(0.0002)
        return heard + new

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)
        _, status = os.waitpid(self.pids[name], 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise RuntimeError(f"the {name} ended by itself with {status}")

    def end(self) -> None:
        """None outlives us, also where one has ended by itself."""
        for pid in self.pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as e:  # noqa: BLE001 - a child must not go on as its parent
            print(repr(e), file=sys.stderr, flush=True)
        os._exit(1)
    return child


def main(folder: Path, kills: int, seed: int, careless: bool) -> dict[str, Any]:
    chance = random.Random(seed)
    victims = Victims(folder, seed, careless)
    try:
        told = torment(victims, kills, chance)
        finish(victims, folder)
    finally:
        victims.end()
    return {"kills": kills, **told, "replies_dropped": victims.heard.count(b"x"), **compare(folder)}


def torment(victims: Victims, kills: int, chance: random.Random) -> dict[str, int]:
    """Kill one of the three, again and again, mostly while something is half done."""
    killed, mid = Counter[str](), 0
    for _ in range(kills):
        name = chance.choices(("puller", "api", "writer"), (4, 1, 1))[0]
        time.sleep(chance.uniform(0.0, 0.1))
        heard = victims.wait_for(chance.choice([*_MID, b"m"])) if name != "writer" else b""
        time.sleep(chance.choice((0.0, 0.0, 0.001, 0.003)))
        victims.kill(name)
        heard += victims.listen_in()
        killed[name] += 1
        mid += name == "puller" and heard.rstrip(b"x")[-1:] in _MID
        victims.pids[name] = victims.start(name)
    victims.kill("writer")
    del victims.pids["writer"]
    return {**killed, "mid_batch": mid}


def finish(victims: Victims, folder: Path) -> None:
    """Until the puller has come to the end."""
    with Reader(folder / "state" / "ledger") as reader:
        last = reader.last()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        victims.listen_in()
        cursor = manifest.read(folder / "into" / NAME, NAME).cursor
        if (cursor.epoch, cursor.seq) >= last:
            return time.sleep(0.3)
        time.sleep(0.05)
    raise RuntimeError("the pool never caught up")


def compare(folder: Path) -> dict[str, int]:
    """The pool, record by record, with the ledger."""
    with Reader(folder / "state" / "ledger") as reader:
        rows = reader.after(Cursor(), 10_000_000)
    truth = [(row.epoch, row.seq, row.hash.hex()) for row in rows]
    found: list[tuple[int, int, str]] = []
    for batch in manifest.read(folder / "into" / NAME, NAME).files:
        path = folder / "into" / NAME / batch.name
        if path.exists():
            table = pq.read_table(path, columns=["epoch", "seq", "hash"])
            found += zip(*(table[name].to_pylist() for name in ("epoch", "seq", "hash")), strict=True)
    blobs = {path.name for path in (folder / "into" / NAME / "blobs").rglob("*") if path.is_file()}
    named = {name for row in rows for name in blobs_of(row)}
    counts = Counter(found)
    return {
        "records": len(truth),
        "missing": len(set(truth) - counts.keys()),
        "twice": sum(count > 1 for count in counts.values()),
        "foreign": len(counts.keys() - set(truth)),
        "out_of_order": int(found != sorted(found)),
        "blobs": len(named),
        "blobs_missing": len(named - blobs),
        "stray_files": len(list((folder / "into" / NAME).glob("*.parquet"))) - len(manifest.read(folder / "into" / NAME, NAME).files),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "careless" in sys.argv)))
