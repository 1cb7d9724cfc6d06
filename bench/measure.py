"""What did a process cost, and how far do the rounds of a bench agree?"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median of some rounds, with the lowest and the highest."""

    middle: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """From the values of all rounds."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1], len(found)) if found else cls(float("nan"), float("nan"), float("nan"), 0)

    def text(self, unit: str = "") -> str:
        """For a table: "12.3 (11.9-13.0) us"."""
        spread = "" if self.rounds < 2 else f" ({short(self.low)}-{short(self.high)})"
        return f"{short(self.middle)}{spread}{' ' if unit else ''}{unit}"


def ratio(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """Ours over the other, round by round: what disturbed a round disturbed both."""
    return Spread.of(a / b for a, b in zip(ours, other, strict=True) if b > 0)


def short(value: float) -> str:
    """Three digits that mean something."""
    if value != value:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interleaved(rounds: int, runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every run once a round, each round in another order, so that a slow minute of the machine hits nobody alone."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            found[name].append(runs[name]())
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


# ---------------------------------------------------------------- processes


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for task in _tasks(pid):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds so far, user and system."""
    return sum(_cpu_s(pid) for pid in pids)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_mb(pids: Sequence[int]) -> float:
    """Resident memory, MB; what processes share counts in each."""
    return sum(_rollup(pid, "Rss") for pid in pids)


def pss_mb(pids: Sequence[int]) -> float:
    """Resident memory, MB; what processes share is divided among them."""
    return sum(_rollup(pid, "Pss") for pid in pids)


def _rollup(pid: int, key: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(key + ":")), 0.0)
