"""Nobody pulls for thirty days, then somebody drains it all: is the order kept, and does the live side notice?"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pool_driver import NAME, TOKEN, file_of

from edge_agent.clock import ManualClock
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.queue import LINGER_S
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.verify import verify
from edge_agent.pool import manifest

Figure = Callable[..., None]
DAYS = 30
pytestmark = pytest.mark.anyio


async def a_month(ledger: Ledger, clock: ManualClock, an_hour: int) -> None:
    """Thirty days of records, `an_hour` of them in each hour."""
    for _ in range(DAYS * 24):
        clock.advance(3600.0)
        ledger.append_many([Line("sample", {"k": k, "x": "y" * 100}) for k in range(an_hour - 1)])
        await ledger.append("window", {"x": "z" * 200}, blobs=[])


async def latencies(ledger: Ledger, count: int) -> list[float]:
    """Seconds of so many appends, as an action waits for them."""
    took = []
    for n in range(count):
        began = time.perf_counter()
        await ledger.append("intent", {"n": n})
        took.append(time.perf_counter() - began)
        time.sleep(0.002)  # noqa: ASYNC251 - nothing else runs in this loop
    return took


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


CONFIG = """\
version: 1
agent: {name: a1, owner: acme, state: STATE}
connectors: {}
tags: {}
api: {port: 0, tokens: [{name: pool, token: !secret pool}]}
"""


class Central:
    """The real programs: `edge-agent serve` before the ledger, and `edge-agent pool pull`."""

    def __init__(self, folder: Path) -> None:
        self._folder, config = folder, folder / "a1.yaml"
        config.write_text(CONFIG.replace("STATE", str(folder / "state")))
        (folder / "pool").touch(mode=0o600)
        (folder / "pool").write_text(TOKEN)
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}
        command = [sys.executable, "-m", "edge_agent", "serve", str(config)]
        self._api = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self._api.stderr is not None
        self.url = self._api.stderr.readline().split()[-1]

    def drain(self, n: int) -> subprocess.Popen[bytes]:
        into, token = self._folder / f"into-{n}", self._folder / "pool"
        options = ["--into", str(into), "--token-file", str(token), "--consumer", f"pool{n}", "--json"]
        return subprocess.Popen([sys.executable, "-m", "edge_agent", "pool", "pull", self.url, *options], stdout=subprocess.DEVNULL)

    def end(self) -> None:
        self._api.kill()
        self._api.wait()
        assert self._api.stderr is not None
        self._api.stderr.close()


async def offline(folder: Path, an_hour: int, rounds: int) -> dict[str, Any]:
    clock = ManualClock(wall_ns=time.time_ns() - int(DAYS * 86400e9))
    ledger = Ledger.of(file_of(folder), clock)
    ledger.start()
    await a_month(ledger, clock, an_hour)
    central = Central(folder)
    quiet: list[float] = []
    busy: list[float] = []
    try:
        for n in range(rounds):  # one after the other: what else the machine does falls on both alike
            quiet += await latencies(ledger, 400)
            puller = central.drain(n)
            while puller.poll() is None:
                busy += await latencies(ledger, 20)
            assert puller.returncode == 0
    finally:
        central.end()
    holds = ledger.status()["holds_s"]
    ledger.close()
    return {"quiet": quiet, "busy": busy, "holds": holds}


def in_order(folder: Path) -> int:
    """How many records of the ledger the pool has; all of them, in their order, up to where it came."""
    state = manifest.read(folder / "into-0" / NAME, NAME)
    with Reader(folder / "state" / "ledger") as reader:
        truth = [(row.epoch, row.seq, row.hash.hex()) for row in reader.after(Cursor(), 10_000_000)]
    found: list[tuple[int, int, str]] = []
    for batch in state.files:
        table = pq.read_table(folder / "into-0" / NAME / batch.name, columns=["epoch", "seq", "hash"])
        found += zip(*(table[name].to_pylist() for name in ("epoch", "seq", "hash")), strict=True)
    assert found == truth[: len(found)]
    return len(found)


async def a_drain_is_not_noticed(memory: Path, an_hour: int, rounds: int, figure: Figure) -> None:
    told = await offline(memory, an_hour, rounds)
    pulled = in_order(memory)
    assert pulled > DAYS * 24 * an_hour
    assert verify(memory / "state" / "ledger").findings == []
    assert told["holds"] > DAYS * 86400 * 0.99
    assert len(told["busy"]) > 20, "the drain took a while"
    ratio = p99(told["busy"]) / p99(told["quiet"])
    live = f"{p99(told['quiet']) * 1e3:.1f} ms quiet, {p99(told['busy']) * 1e3:.1f} ms in a drain"
    figure(
        "weeks offline",
        days=DAYS,
        records=pulled,
        out_of_order=0,
        live_p99=live,
        ratio=f"{ratio:.2f}",
        holds=f"{told['holds'] / 86400:.0f} days",
    )
    assert p99(told["busy"]) < LINGER_S, "no append waits for the drain"
    if rounds > 1:
        assert ratio < 2.0


@pytest.mark.timeout(120)
async def test_a_month_without_a_puller_is_drained_in_order(memory: Path, figure: Figure) -> None:
    await a_drain_is_not_noticed(memory, 10, 1, figure)


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_a_month_of_many_records_is_drained_and_the_live_side_does_not_notice(memory: Path, figure: Figure) -> None:
    await a_drain_is_not_noticed(memory, 200, 3, figure)
