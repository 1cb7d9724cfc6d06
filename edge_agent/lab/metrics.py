"""How good is what was said, and how sure is that figure? Pure; everything seeded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab.data import Texts

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Series = Sequence[tuple[Bools, Bools]]
"""(alarm, truth) of each episode, row by row."""
T = TypeVar("T")


def detection(series: Series, every_s: float) -> dict[str, float]:
    """F1 and rates over all rows together; delay over faults (a missed one counts with its whole length); false episodes (an
    uninterrupted alarm that touches no faulty row) per hour of normal running. What cannot be said is left out."""
    alarm, truth = np.concatenate([a for a, _ in series]), np.concatenate([t for _, t in series])
    hit, wrong, faulty, normal = int((alarm & truth).sum()), int((alarm & ~truth).sum()), int(truth.sum()), int((~truth).sum())
    found: dict[str, float] = {}
    if faulty:
        found |= {"f1": 2 * hit / (hit + wrong + faulty), "missed_alarm_rate": 1 - hit / faulty}
        found |= _delays([d for a, t in series for d in delays(a, t)], every_s)
    if normal:
        episodes = sum(false_episodes(a, t) for a, t in series)
        found |= {"false_alarm_rate": wrong / normal, "false_episodes_per_hour": episodes / (normal * every_s / 3600)}
    return found


def _delays(found: Sequence[tuple[int, bool]], every_s: float) -> dict[str, float]:
    missed = sum(not seen for _, seen in found)
    median = float(np.median([rows for rows, _ in found])) * every_s
    return {"median_delay_s": median, "events": float(len(found)), "missed_events": float(missed)}


def delays(alarm: Bools, truth: Bools) -> list[tuple[int, bool]]:
    """For each fault: rows until the first alarm in it, and whether there was one."""
    found = []
    for begin, end in stretches(truth):
        seen = np.flatnonzero(alarm[begin:end])
        found.append((int(seen[0]), True) if seen.size else (end - begin, False))
    return found


def false_episodes(alarm: Bools, truth: Bools) -> int:
    """Uninterrupted alarms that touch no faulty row."""
    return sum(not truth[begin:end].any() for begin, end in stretches(alarm))


def stretches(flags: Bools) -> list[tuple[int, int]]:
    """[begin, end) of each uninterrupted stretch of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def best_clock(series: Series, step: int = 10) -> tuple[int, int]:
    """The rows from-to in which an alarm that looks at no data at all reaches the highest F1: what any clock can reach at most."""
    longest = max(len(a) for a, _ in series)
    faulty, rows = np.zeros(longest + 1), np.zeros(longest + 1)
    for _, truth in series:
        faulty[1 : len(truth) + 1] += truth
        rows[1 : len(truth) + 1] += 1
    hits, shown = np.cumsum(faulty)[::step], np.cumsum(rows)[::step]
    score = 2 * (hits[None, :] - hits[:, None]) / np.maximum(shown[None, :] - shown[:, None] + faulty.sum(), 1)
    begin, end = np.unravel_index(int(np.triu(score, 1).argmax()), score.shape)
    return int(begin) * step, int(end) * step


def clock(series: Series, begin: int, end: int) -> Series:
    """The same episodes with an alarm in these rows and no other."""
    return [((np.arange(len(t)) >= begin) & (np.arange(len(t)) < end), t) for _, t in series]


def classification(said: Sequence[str] | Texts, true: Sequence[str] | Texts) -> dict[str, float]:
    """Accuracy and macro F1 (mean over the classes that occur in the truth)."""
    a, t = np.asarray(said), np.asarray(true)
    scores = [2 * int(((a == c) & (t == c)).sum()) / int((a == c).sum() + (t == c).sum()) for c in np.unique(t)]
    return {"accuracy": float((a == t).mean()), "macro_f1": float(np.mean(scores))} if len(t) else {}


def auroc(score: NDArray[np.floating], positive: Bools) -> float | None:
    """Chance that a positive one scores above a negative one, ties half; None with one kind only."""
    good = np.isfinite(score)
    score, positive = np.asarray(score, dtype=np.float64)[good], positive[good]
    ups, downs = int(positive.sum()), int((~positive).sum())
    if not ups or not downs:
        return None
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[positive].sum() - ups * (ups + 1) / 2) / (ups * downs))


def reliability(confidence: NDArray[np.floating], right: Bools, bins: int = 10) -> list[tuple[float, float, int]]:
    """For each filled bin of equal width: mean confidence, share that was right, how many."""
    place = np.clip((np.asarray(confidence) * bins).astype(int), 0, bins - 1)
    filled = [place == b for b in range(bins) if (place == b).any()]
    return [(float(confidence[f].mean()), float(right[f].mean()), int(f.sum())) for f in filled]


def ece(table: Sequence[tuple[float, float, int]]) -> float:
    """Expected calibration error: mean distance of confidence and share right, weighted by how many. Guo et al., ICML 2017."""
    total = sum(n for _, _, n in table)
    return sum(abs(c - r) * n for c, r, n in table) / total if total else 0.0


def interval(
    items: Sequence[T], group: Callable[[T], str], figure: Callable[[Sequence[T]], Mapping[str, float]], *, draws: int = 300, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % of the figures when whole groups are drawn anew with replacement. Nothing with fewer than three groups."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(group(item), []).append(item)
    if len(groups) < 3:
        return {}
    rng, names = np.random.default_rng(seed), sorted(groups)
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        drawn = [item for i in rng.integers(0, len(names), len(names)) for item in groups[names[i]]]
        for name, value in figure(drawn).items():
            found.setdefault(name, []).append(value)
    enough = {name: values for name, values in found.items() if len(values) > draws // 2}
    return {name: (float(np.quantile(v, 0.025)), float(np.quantile(v, 0.975))) for name, v in enough.items()}
