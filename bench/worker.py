"""What does the killable worker add to a run of the graph, and what do 200 loops that share a model cost?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import model
from bench.measure import Spread, percentile, ratio, short
from bench.report import Goal, Section, Table
from edge_agent.diagnose import bundle
from edge_agent.diagnose.session import open_session
from edge_agent.diagnose.worker import WorkerRuntime

LOOPS = 200


async def _singles(runtime: WorkerRuntime, folder: Path, feeds: dict[str, Any], count: int) -> list[float]:
    """Seconds of each of `count` runs, one after the other."""
    spent = []
    for _ in range(count):
        begin = time.perf_counter()
        await runtime.run(folder, feeds, 5.0)
        spent.append(time.perf_counter() - begin)
    return spent


def _floor(session: Any, feeds: dict[str, Any], count: int) -> list[float]:
    spent = []
    for _ in range(count):
        begin = time.perf_counter()
        session.run(["score"], feeds)
        spent.append(time.perf_counter() - begin)
    return spent


async def _together(runtime: WorkerRuntime, folder: Path, feeds: dict[str, Any], loops: int) -> float:
    """Seconds until as many loops, each with a window at the same moment, have their answers."""
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(loops):
            group.create_task(runtime.run(folder, feeds, 5.0))
    return time.perf_counter() - begin


async def _measure(folder: Path, shape: tuple[int, int], *, rounds: int, count: int) -> dict[str, Any]:
    channels, rows = shape
    made = model.write(folder / f"m{channels}x{rows}", channels=channels, rows=rows)
    runtime = WorkerRuntime(partial(bundle.read, dev=True))
    found: dict[str, list[float]] = {key: [] for key in ("floor50", "floor99", "ours50", "ours99", "one", "many")}
    feeds = {"window": model.windows(1, channels, rows)}
    try:
        await runtime.load(made)
        await runtime.load(made)  # as a second loop does: from here on windows may share runs
        session = open_session(runtime.opened(made).model, "bench")
        await _singles(runtime, made, feeds, 200)
        _floor(session, feeds, 200)
        for _ in range(rounds):
            floor, ours = _floor(session, feeds, count), await _singles(runtime, made, feeds, count)
            found["floor50"].append(percentile(floor, 0.5))
            found["floor99"].append(percentile(floor, 0.99))
            found["ours50"].append(percentile(ours, 0.5))
            found["ours99"].append(percentile(ours, 0.99))
            found["one"].append(percentile([await _together(runtime, made, feeds, 1) for _ in range(20)], 0.5))
            found["many"].append(percentile([await _together(runtime, made, feeds, LOOPS) for _ in range(20)], 0.5))
        shares = next(iter(runtime.status()["models"].values()))["windows_share_runs"]
        return {**found, "shares": shares}
    finally:
        await runtime.close()


def run(folder: Path, *, quick: bool) -> Section:
    """A small window and one of 2048 samples."""
    rounds, count = (3, 200) if quick else (7, 1000)
    measure: Callable[[tuple[int, int]], dict[str, Any]] = lambda shape: asyncio.run(_measure(folder, shape, rounds=rounds, count=count))
    found = {shape: measure(shape) for shape in ((8, 32), (3, 2048))}
    rows = []
    for (channels, length), f in found.items():
        adds = Spread.of(1e6 * (a - b) for a, b in zip(f["ours50"], f["floor50"], strict=True))
        late = Spread.of(1e6 * (a - b) for a, b in zip(f["ours99"], f["floor99"], strict=True))
        many = ratio(f["many"], f["one"])
        each = Spread.of(1e6 * t / LOOPS for t in f["many"])
        one = Spread.of(1e6 * t for t in f["floor50"])
        rows.append(
            (f"{channels}x{length} INT8", one.text("us"), adds.text("us"), late.text("us"), many.text(), each.text("us"), str(f["shares"]))
        )
    small = found[(8, 32)]
    adds = Spread.of(1e6 * (a - b) for a, b in zip(small["ours50"], small["floor50"], strict=True))
    many = ratio(small["many"], small["one"])
    return Section(
        title="Diagnose: the killable worker",
        about="`session.run` in this process against the worker's `run` (shared memory, a dozen bytes each way), one window at a time; then "
        f"{LOOPS} loops that share a model, each with a window at the same moment.",
        goals=[
            Goal(target="the worker adds <= 40 us p50", reached=f"{adds.text('us')}", met=adds.middle <= 40),
            Goal(target=f"{LOOPS} loops cost <= 4x of one", reached=f"x{short(many.middle)}", met=many.middle <= 4),
        ],
        tables=[
            Table(
                columns=(
                    "window",
                    "session.run p50",
                    "worker adds p50",
                    "adds p99",
                    f"{LOOPS} loops / one",
                    "a window of these",
                    "proven to share runs",
                ),
                rows=rows,
            )
        ],
    )
