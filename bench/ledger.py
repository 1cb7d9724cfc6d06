"""How fast is the ledger beside bare sqlite3, what does the chain cost, when is a record durable, how fast is it pulled?"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench.agent import HOME
from bench.broker import free_port
from bench.contenders import started
from bench.measure import Spread, cpu_s, interleaved, percentile, ratio, short
from bench.report import Goal, Section, Table
from edge_agent.clock import SystemClock
from edge_agent.feedback.chain import GENESIS, Header, digest, encode, link
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.queue import LINGER_S
from edge_agent.feedback.store import Entry, Store
from edge_agent.feedback.writer import Identity

_TOKEN = "bench-token-0123456789"


def _payload(i: int) -> bytes:
    return encode(
        {"tag": f"pump_{i % 97}_flow", "value": i * 0.1, "quality": 0, "source_ns": 1_700_000_000_000_000_000 + i, "note": "x" * 200}
    )


def _entries(count: int) -> list[Entry]:
    return [Entry("sample", "p1", "bench", "site", 1_700_000_000_000_000_000 + i, i, _payload(i)) for i in range(count)]


class _Bare:
    """The floor: one table, prepared statements, WAL and FULL."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.db = sqlite3.connect(folder / "bare.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute("CREATE TABLE record(seq INTEGER PRIMARY KEY, kind, loop, owner, share, wall_ns, mono_ns, payload)")

    def write(self, entries: list[Entry]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT INTO record(kind, loop, owner, share, wall_ns, mono_ns, payload) VALUES (?,?,?,?,?,?,?)", [e[:7] for e in entries]
        )
        self.db.execute("COMMIT")


def _per_record(write: Any, entries: list[Entry], group: int, groups: int) -> dict[str, float]:
    begin, cpu = time.perf_counter(), time.thread_time()
    for i in range(groups):
        write(entries[i * group % len(entries) :][:group])
    spent = time.thread_time() - cpu
    return {"s": (time.perf_counter() - begin) / group / groups, "cpu": spent / group / groups}


def _append(folder: Path, rounds: int, group: int) -> dict[str, list[float]]:
    entries, groups = _entries(512), max(4, 4096 // group)
    store, bare = Store(folder / f"ours{group}", 1, 1), _Bare(folder / f"bare{group}")
    found: dict[str, list[float]] = {}

    def run(name: str, write: Any) -> float:
        said = _per_record(write, entries, group, groups)
        found.setdefault(f"{name} cpu", []).append(said["cpu"])
        return said["s"]

    for write in (store.write, bare.write):
        _per_record(write, entries, group, 2)
    wall = interleaved(
        rounds, {"ours": lambda: run("ours", store.write), "bare": lambda: run("bare", bare.write), "chain": lambda: _chain_s(entries)}
    )
    store.close()
    return {**wall, **found}


def _chain_s(entries: list[Entry]) -> float:
    """What the hashing of one record costs: its payload, and its link to the one before."""
    prev, begin = GENESIS, time.perf_counter()
    for seq, e in enumerate(entries):
        prev = link(prev, Header((), 1, e.kind, e.loop, e.mono_ns, e.owner, digest(e.payload), seq, e.share, e.wall_ns))
    return (time.perf_counter() - begin) / len(entries)


def _durable(folder: Path, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds until records are durable: those that nobody waits for, and those that a write waits for; 1,000 a second."""
    ledger = Ledger(folder / "durable", identity=Identity("bench", "bench"), clock=SystemClock())
    ledger.start()
    lazy: list[float] = []
    urgent: list[float] = []

    def noted(at: float) -> None:
        lazy.append(time.perf_counter() - at)

    async def run() -> None:
        end, i = time.perf_counter() + seconds, 0
        while (now := time.perf_counter()) < end:
            ledger.append_many([Line("sample", {"tag": "x", "value": i + k}) for k in range(10)], lambda at=now: noted(at))  # type: ignore[misc]
            i += 10
            await asyncio.sleep(0.01)
        for _ in range(200):
            begin = time.perf_counter()
            await ledger.append("intent", {"value": 1})
            urgent.append(time.perf_counter() - begin)
            await asyncio.sleep(0.005)

    try:
        asyncio.run(run())
    finally:
        ledger.close()
    return lazy, urgent


def _pull(folder: Path, count: int) -> dict[str, float]:
    """Records a second through the API, and what a commit that somebody waits for takes meanwhile in the agent's process."""
    state = folder / "pull"
    config = folder / "pull.yaml"
    port = free_port()
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "t").write_text(_TOKEN)
    (secrets / "t").chmod(0o600)
    config.write_text(
        f"version: 1\nagent: {{name: pull, owner: bench, state: {state}}}\nconnectors: {{}}\ntags: {{}}\n"
        f"api: {{port: {port}, tokens: [{{name: bench, token: !secret t, clearance: site}}]}}\n"
    )
    ledger = Ledger(state / "ledger", identity=Identity("pull", "bench"), clock=SystemClock())
    ledger.start()
    quiet: list[float] = []
    busy: list[float] = []
    try:
        for i in range(0, count, 500):
            while not ledger.append_many([Line("sample", json.loads(_payload(i + k))) for k in range(500)]):
                time.sleep(0.05)
        asyncio.run(_commits(ledger, quiet, lambda: len(quiet) >= 150))
        with started([sys.executable, "-m", "edge_agent", "serve", str(config)]) as server:
            pulled: dict[str, Any] = {}
            thread = threading.Thread(target=_fetch, args=(port, count, pulled, server.pid))
            thread.start()
            asyncio.run(_commits(ledger, busy, lambda: not thread.is_alive()))
            thread.join()
    finally:
        ledger.close()
    return {**pulled, "quiet": percentile(quiet, 0.99), "busy": percentile(busy, 0.99)}


async def _commits(ledger: Ledger, into: list[float], done: Any) -> None:
    while not done():
        begin = time.perf_counter()
        await ledger.append("intent", {"value": 1})
        into.append(time.perf_counter() - begin)
        await asyncio.sleep(0.01)


_FETCH = """
import sys, time, json
import httpx, zstandard
url, count, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
http = httpx.Client(headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "zstd"}, timeout=30)
for _ in range(200):
    try:
        http.get(url + "/v1/feedback", params={"limit": 1}); break
    except httpx.HTTPError:
        time.sleep(0.1)
records = wire = 0
epoch = seq = 0
begin = time.perf_counter()
while records < count:
    r = http.get(url + "/v1/feedback", params={"after": seq, "epoch": epoch, "limit": 5000})
    r.raise_for_status()
    assert r.headers["content-encoding"] == "zstd"
    got = r.content.count(b"\\n")
    if not got: break
    records += got
    wire += int(r.headers["content-length"])
    epoch, seq = int(r.headers["edge-agent-last-epoch"]), int(r.headers["edge-agent-last-seq"])
print(json.dumps({"records": records, "s": time.perf_counter() - begin, "wire": wire}))
"""


def _fetch(port: int, count: int, pulled: dict[str, Any], server: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FETCH, f"http://127.0.0.1:{port}", str(count), _TOKEN],
        cwd=HOME,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        pulled["why"] = done.stderr.decode()[-300:]
        return
    pulled.update(json.loads(done.stdout), cpu=cpu_s([server]))


def run(folder: Path, *, quick: bool) -> Section:
    """Groups of 64 and of 512, as the ledger's own group commit makes them."""
    rounds = 5 if quick else 9
    both = {group: _append(folder, rounds, group) for group in (64, 512)}
    lazy, urgent = _durable(folder, 2 if quick else 6)
    pulled = _pull(folder, 20_000 if quick else 60_000)
    rows, goals = [], []
    for group, f in both.items():
        speed = ratio(f["bare"], f["ours"])
        chain = Spread.of(c / o for c, o in zip(f["chain"], f["ours"], strict=True))
        goals += [
            Goal(target=f">= 0.7 of bare sqlite3, groups of {group}, FULL", reached=speed.text(), met=speed.middle >= 0.7),
            Goal(
                target=f"hash chain <= 15 % of it, groups of {group}",
                reached=f"{chain.middle:.0%} ({chain.low:.0%}-{chain.high:.0%})",
                met=chain.middle <= 0.15,
            ),
        ]
        ours, bare = Spread.of(1 / t for t in f["ours"]), Spread.of(1 / t for t in f["bare"])
        rows.append(
            (
                f"{group}",
                ours.text(),
                bare.text(),
                speed.text(),
                *(Spread.of(1e6 * t for t in f[key]).text() for key in ("ours cpu", "bare cpu", "chain")),
            )
        )
    p99 = percentile(lazy, 0.99)
    goals.append(
        Goal(
            target="append to durable p99 <= 1.2x the group interval of 200 ms",
            reached=f"{1e3 * p99:.0f} ms, x{short(p99 / LINGER_S)}",
            met=p99 <= 1.2 * LINGER_S,
        )
    )
    if "s" in pulled:
        rate, worse = pulled["records"] / pulled["s"], pulled["busy"] / pulled["quiet"]
        goals += [
            Goal(
                target="pull >= 20,000 records/s (NDJSON + zstd)",
                reached=f"{rate:,.0f}/s, {pulled['wire'] / pulled['records']:.0f} bytes each on the wire",
                met=rate >= 20_000,
            ),
            Goal(
                target="the wait for an intent's commit meanwhile: p99 <= 1.2x",
                reached=f"x{short(worse)} ({1e3 * pulled['quiet']:.1f} to {1e3 * pulled['busy']:.1f} ms)",
                met=worse <= 1.2,
            ),
        ]
    section = Section(
        title="Ledger",
        about="Records of 300 bytes. Ours: header, hash chain, payload in a table of its own so that retention can drop it, indexes. The floor: one table, "
        f"executemany, the same groups, WAL, `synchronous=FULL`. Disk: {_disk(folder)}.",
        goals=goals,
        tables=[
            Table(
                columns=("records a commit", "ours records/s", "bare sqlite3", "ours / bare", "CPU us ours", "CPU us bare", "hashing us"),
                rows=rows,
            )
        ],
        notes=[
            f"A record that somebody waits for (an intent) is durable after {1e3 * percentile(urgent, 0.5):.2f} ms p50, {1e3 * percentile(urgent, 0.99):.2f} ms p99."
        ],
    )
    if "why" in pulled:
        section.notes.append(f"the pull failed: {pulled['why']}")
    return section


def _disk(folder: Path) -> str:
    """How long one flush of 4 kB takes here."""
    fd = os.open(folder / "flush", os.O_CREAT | os.O_WRONLY)
    spent = []
    for _ in range(50):
        os.pwrite(fd, b"x" * 4096, 0)
        begin = time.perf_counter()
        os.fdatasync(fd)
        spent.append(time.perf_counter() - begin)
    os.close(fd)
    return f"a flush takes {1e3 * percentile(spent, 0.5):.2f} ms"
