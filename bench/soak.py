"""Does memory grow? A day of one loop at 1 Hz through all five links, the ledger on a disk, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import time
from pathlib import Path
from typing import Any

from bench import recorded
from bench.measure import rss_mb
from bench.report import Goal, Section, Table
from edge_agent import app, recording
from edge_agent.clock import ManualClock
from edge_agent.config.load import load
from edge_agent.contracts import Situation
from edge_agent.decide.link import Decider
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.feedback.backlog import Backlog
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.link import Feedback
from edge_agent.feedback.writer import Identity, Limits
from edge_agent.perceive.intake import Intake
from edge_agent.perceive.link import Perceiver

_DAY_S = 86_400
_LEDGER = 20e6  # bytes: it comes to its bound within the day


async def _day(folder: Path, seconds: int) -> list[tuple[float, float]]:
    """(hour, MB) along the day."""
    config = load(recorded.config(folder, 1))
    clock = ManualClock(recorded.WALL_NS, recorded.MONO_NS)
    perceiver = Perceiver(Intake(app.tag_rules(config, config.file.loops), wall_ns=recorded.WALL_NS, mono_ns=recorded.MONO_NS))
    runtime = InProcessRuntime(app.opener(config))
    diagnoser, _ = await app.diagnoser(config, "p0", runtime)
    decider = Decider(app.policy(config, "p0"), "p0")
    ledger = Ledger(folder / "ledger", identity=Identity("again", "bench"), clock=clock, limits=Limits(max_size=_LEDGER, min_free=0))
    ledger.start()
    backlog = Backlog()
    feedback = Feedback("p0", config.file.loops["p0"], ledger, clock, backlog)
    perceiver.add(app.view(config, "p0", lambda: {}))
    seen: list[tuple[float, float]] = []
    writing = asyncio.ensure_future(backlog.run())
    try:
        for frame in recorded.frames(1, seconds):
            for window in _perceive(perceiver, frame, clock):
                diagnosis = await diagnoser.diagnose(window)
                decision = decider.decide(Situation(window=window, diagnosis=diagnosis, applied={}, armed=False))
                await feedback.record(window, diagnosis, decision, ())
                await asyncio.sleep(0)  # as live: the event loop turns between two windows
                if window.seq % (seconds // 24) == 1:
                    seen.append((window.seq / 3600, _rss()))
    finally:
        writing.cancel()
        ledger.close()
        await runtime.close()
    return seen


def _perceive(perceiver: Perceiver, frame: list[Any], clock: ManualClock) -> list[Any]:
    if frame[0] == "samples":
        batch = recording.samples_of(frame)
        clock.advance((batch[-1].mono_ns - clock.mono_ns()) / 1e9)
        return perceiver.take(batch)
    return perceiver.tick(frame[1]) if frame[0] == "tick" else []


def _rss() -> float:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return rss_mb([os.getpid()])


def run(folder: Path, *, quick: bool) -> Section:
    """RSS at each hour. What is bounded fills up in the first half (the drift watch takes half a day); after that nothing may grow."""
    seconds = _DAY_S // 8 if quick else _DAY_S
    begin = time.monotonic()
    seen = asyncio.run(_day(folder, seconds))
    quarter = len(seen) // 4
    early, late = (sum(mb for _, mb in part) / len(part) for part in (seen[2 * quarter : 3 * quarter], seen[3 * quarter :]))
    grown, shown = late - early, [*seen[::4], seen[-1]]
    return Section(
        title="A simulated day",
        about=f"One loop, 8 tags at 1 Hz, {seconds} turns through perceive, diagnose, decide and feed back with the ledger on the disk and at its bound, "
        f"in {time.monotonic() - begin:.0f} s. Model, ledger and links in one process.",
        goals=[
            Goal(
                target="24 h without RSS growth",
                reached=f"{grown:+.2f} MB from the third quarter to the fourth ({early:.1f} to {late:.1f})",
                met=grown < 0.5,
            )
        ],
        tables=[Table(columns=[f"{hour:.0f} h" for hour, _ in shown], rows=[[f"{mb:.1f} MB" for _, mb in shown]])],
    )
