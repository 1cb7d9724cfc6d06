"""How long do a week of one loop again, and a month of what-if, take?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import recorded
from bench.agent import HOME
from bench.measure import Spread
from bench.report import Goal, Section

DAY_S = 86_400


def _replay(recording: Path, config: Path, *words: str) -> tuple[float, dict[str, Any]]:
    begin = time.perf_counter()
    command = [sys.executable, "-m", "edge_agent", "replay", str(recording), str(config), "--what-if", "--json", *words]
    done = subprocess.run(command, cwd=HOME, capture_output=True, check=False, timeout=100)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).decode()[-500:])
    return time.perf_counter() - begin, json.loads(done.stdout)


def run(folder: Path, *, quick: bool) -> Section:
    """Parts of a day, and from two lengths what a week and a month take: start-up counted once, the rest by the second."""
    short_s, long_s, loops = (1_800, 7_200, 4) if quick else (DAY_S // 24, DAY_S // 2, 4)
    rounds = 2 if quick else 3
    one = recorded.config(folder, 1)
    parts = {s: recorded.write(folder / f"one-{s}.rec", 1, s) for s in (short_s, long_s)}
    week, decided = [], 0
    for _ in range(rounds):
        low, _ = _replay(parts[short_s], one)
        high, said = _replay(parts[long_s], one)
        decided = said["decisions"]
        per_s = (high - low) / (long_s - short_s)
        week.append(low + per_s * (7 * DAY_S - short_s))
    other = recorded.config(folder, loops, threshold=0.5)
    span = long_s // loops
    record = recorded.write(folder / "many.rec", loops, span)
    month = [_replay(record, other)[0] * 30 * DAY_S / (span * loops) for _ in range(rounds)]
    weeks, months = Spread.of(week), Spread.of(month)
    return Section(
        title="Replay",
        about=f"Recordings of {recorded.CHANNELS} tags at 1 Hz, a window of {recorded.ROWS} rows and a run of the INT8 CNN each second "
        f"({decided} decisions in {long_s} s of recording); measured on {short_s} s and {long_s} s, said for a week. "
        f"What-if: {loops} loops with another threshold, on all cores.",
        goals=[
            Goal(target="a week of one loop in <= 60 s", reached=weeks.text("s"), met=weeks.middle <= 60),
            Goal(
                target="what-if over a month of one loop in <= 5 min",
                reached=Spread.of(m / 60 for m in month).text("min"),
                met=months.middle <= 300,
            ),
        ],
        notes=[f"{1e6 * weeks.middle / (7 * DAY_S):.0f} us a second of recording: reading it, 8 values, a window, a run, a decision."],
    )
