"""How does a model behave when its input is not what it should be: broken sensors, other machines, the worst small disturbance?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab.answers import Answers, Asker
from edge_agent.lab.faults import FAULTS
from edge_agent.lab.findings import Finding, limit, note, passed, refusal
from edge_agent.lab.windows import Windows

_MOST_WINDOWS, _MOST_CHANNELS = 24, 12
_UNSEEN = 0.5  # share of windows whose answer a broken sensor may change without the novelty gate noticing, averaged over sensors
_REFUSED = 0.9  # share of foreign windows that novelty must refuse
_EPSILON = 0.1  # of each channel's own movement: what a good sensor's noise may do
_DIRECTIONS, _DIRECTIONS_PICTURE, _PICTURE = 128, 32, 4096  # of a window; of one with more rows than a window has
_FLIPPED = 0.5
_SAME = 1e-5


def answers(bundle: Bundle, asker: Asker, windows: Windows) -> list[Finding]:
    """Finite, not always the same, the same twice, and the same alone as in company."""
    found = asker.outputs(windows)
    if bad := [n for n, a in found.items() if not np.isfinite(a).all()]:
        return [refusal("answers", f"output {bad[0]} is not finite for {windows.where}")]
    strange = replace(windows, values=_other_values(windows))
    varied = [np.concatenate([a, b]) for a, b in zip(found.values(), asker.outputs(strange).values(), strict=True)]
    if all(float(np.ptp(a, axis=0).max()) == 0.0 for a in varied):
        return [refusal("answers", "the same answer to every window, whatever it holds: a dead model")]
    again = asker.outputs(windows)
    if any(a.tobytes() != again[n].tobytes() for n, a in found.items()):
        return [refusal("answers", "another answer to the same window: not repeatable, so no replay could prove anything")]
    alone = [asker.outputs(_slice(windows, i)) for i in range(min(len(windows), 8))]
    moved = max(float(np.abs(one[n][0] - found[n][i]).max()) for i, one in enumerate(alone) for n in found)
    size = max(float(np.abs(a).max()) for a in found.values())
    if moved > max(_SAME, 1e-3 * size):
        return [refusal("answers", f"a window's answer moves by {moved:.3g} with the company it is in: the batch is mixed up in the graph")]
    return [passed("answers", f"finite, repeatable, independent of the batch (moves {moved:.1g} at most)")]


def broken_sensors(bundle: Bundle, asker: Asker, windows: Windows) -> list[Finding]:
    """Each sensor broken in each way: does the answer change without the novelty gate noticing?"""
    some = windows.some(_MOST_WINDOWS)
    plain = asker.ask(some)
    channels = np.unique(np.linspace(0, len(bundle.card.roles) - 1, min(_MOST_CHANNELS, len(bundle.card.roles))).astype(int))
    table: dict[str, dict[str, float]] = {}
    for name, fault in FAULTS.items():
        said = [asker.ask(_broken(some, fault, int(c))) for c in channels]
        if any(s.failed.any() for s in said):
            return [refusal("broken sensors", f"{name} makes it answer nothing finite: the agent would lose its eyes with one sensor")]
        unseen = [float((_changed(plain, s) & ~s.novel).mean()) for s in said]
        worst = int(np.argmax(unseen))
        table[name] = {
            "changed_unseen": float(np.mean(unseen)),
            "worst": unseen[worst],
            "refused": float(np.mean([s.novel.mean() for s in said])),
            "worst_channel": float(channels[worst]),
        }
    mean = float(np.mean([row["changed_unseen"] for row in table.values()]))
    top = max(table, key=lambda n: table[n]["worst"])
    role = bundle.card.roles[int(table[top]["worst_channel"])].role
    said_ = f"{mean:.0%} of answers change unnoticed on average; the worst: {top} of {role} changes {table[top]['worst']:.0%} unnoticed"
    if mean > _UNSEEN:
        return [limit("broken sensors", 0, said_, faults=table)]
    return [passed("broken sensors", said_, faults=table)]


def outside(bundle: Bundle, asker: Asker, windows: Windows) -> list[Finding]:
    """Other scales, rails, noise, silence: novelty must refuse nine in ten."""
    some = windows.some(_MOST_WINDOWS)
    if bundle.card.envelope is None or bundle.card.thresholds.novelty is None:
        return []  # the card's own finding says it
    shares = {name: float(asker.novel(replace(some, values=made)).mean()) for name, made in _foreign(some).items()}
    mean = float(np.mean(list(shares.values())))
    clean = float(asker.novel(some).mean())
    through = min(shares, key=lambda n: shares[n])
    said = f"novelty refuses {mean:.0%} of foreign windows (least: {through}, {shares[through]:.0%}) and {clean:.0%} of its own"
    if mean < _REFUSED:
        return [limit("outside the envelope", 0, f"{said}; {_REFUSED:.0%} are asked for: tighten the envelope", refused=shares)]
    return [passed("outside the envelope", said, refused=shares, clean=clean)]


def disturbed(bundle: Bundle, asker: Asker, windows: Windows) -> list[Finding]:
    """The worst disturbance within a tenth of each channel's movement, found by finite differences of the raw score."""
    some = windows.some(8)
    before = asker.ask(some)
    values = [_worst(asker, _slice(some, i), sign) for i in range(len(some)) for sign in (1.0, -1.0)]
    after = asker.ask(
        replace(some, values=np.stack(values), baselines=None if some.baselines is None else np.repeat(some.baselines, 2, axis=0))
    )
    start = np.repeat(before.score, 2)
    flipped = float((after.alarm.reshape(-1, 2) != before.alarm[:, None]).any(axis=1).mean())
    moved = float(np.nanmax(np.abs(after.score - start)))
    said = f"within {_EPSILON:.0%} of each channel's movement the score moves by {moved:.3f} at most; {flipped:.0%} of alarms flip"
    numbers = {"epsilon": _EPSILON, "flipped": flipped, "moves": sorted(float(v) for v in np.abs(after.score - start))}
    if flipped > _FLIPPED:
        return [limit("worst disturbance", 1, said, **numbers)]
    return [passed("worst disturbance", said, **numbers)]


def confidence(bundle: Bundle, asker: Asker, windows: Windows, table: Callable[..., list[tuple[float, float, int]]]) -> list[Finding]:
    """Is 90 % sure right nine times in ten? Only with labelled windows."""
    if windows.labels is None:
        return []
    said = asker.ask(windows)
    known = np.isfinite(said.confidence)
    if not known.any():
        return [note("confidence", "the head gives no confidence for a single window")]
    rows = table(said.confidence[known], (said.label == windows.labels)[known])
    error = sum(abs(c - r) * n for c, r, n in rows) / sum(n for _, _, n in rows)
    text = f"expected calibration error {error:.3f} over {int(known.sum())} labelled windows"
    numbers: dict[str, Any] = {"ece": error, "reliability": [list(row) for row in rows]}
    if error > 0.15:
        return [limit("confidence", 1, f"{text}: it is not as sure as it says; scale its logits", **numbers)]
    return [passed("confidence", text, **numbers)]


def _changed(a: Answers, b: Answers) -> NDArray[np.bool_]:
    return np.asarray((a.alarm != b.alarm) | (a.label != b.label))


def _broken(windows: Windows, fault: Callable[..., Any], channel: int) -> Windows:
    rng = np.random.default_rng(channel)
    made = np.stack([fault(w.T, channel, rng).T for w in windows.values]).astype(np.float32)
    return replace(windows, values=made)


def _foreign(windows: Windows) -> dict[str, NDArray[np.float32]]:
    values, rng = windows.values, np.random.default_rng(0)
    low, high = values.min(axis=(0, 2), keepdims=True), values.max(axis=(0, 2), keepdims=True)
    wide = np.maximum(high - low, 1e-6 + 1e-3 * np.abs(high))
    made = {
        "ten times larger": values * 10,
        "ten times smaller": values / 10,
        "far above": values + 10 * wide,
        "far below": values - 10 * wide,
        "wild noise": values + 10 * wide * rng.standard_normal(values.shape),
        "all zero": np.zeros_like(values),
    }
    return {name: np.ascontiguousarray(v, dtype=np.float32) for name, v in made.items()}


def _worst(asker: Asker, one: Windows, sign: float) -> NDArray[np.float32]:
    """One window [C, W] pushed up (or down) by the sign of its gradient, twice."""
    values = one.values[0]
    step = _EPSILON * np.maximum(values.std(axis=1, keepdims=True), 1e-6 * np.abs(values).max())
    best, top = values, float(asker.raw(one)[0]) * sign
    for _ in range(2):
        pushed = (values + step * np.sign(sign * _gradient(asker, one, best, step))).astype(np.float32)
        reached = float(asker.raw(replace(one, values=pushed[None]))[0]) * sign
        if not reached > top:
            break
        best, top = pushed, reached
    return np.asarray(best, dtype=np.float32)


def _gradient(asker: Asker, one: Windows, at: NDArray[np.float32], step: NDArray[np.floating]) -> NDArray[np.float64]:
    """Central differences [C, W] over stretches of each channel: at most 128 of them, 32 of a picture."""
    channels, rows = at.shape
    most = _DIRECTIONS_PICTURE if rows > _PICTURE else _DIRECTIONS
    stretches = np.array_split(np.arange(rows), max(1, min(rows, most // channels)))
    places = [(c, s) for c in range(channels) for s in stretches]
    tried = np.repeat(at[None], 2 * len(places), axis=0)
    for i, (c, s) in enumerate(places):
        tried[2 * i, c, s] += step[c, 0]
        tried[2 * i + 1, c, s] -= step[c, 0]
    bases = None if one.baselines is None else np.repeat(one.baselines, len(tried), axis=0)
    raw = asker.raw(replace(one, values=tried, baselines=bases))
    slope = np.zeros(at.shape)
    for i, (c, s) in enumerate(places):
        slope[c, s] = raw[2 * i] - raw[2 * i + 1]
    return slope


def _slice(windows: Windows, i: int) -> Windows:
    bases = None if windows.baselines is None else windows.baselines[i : i + 1]
    return replace(windows, values=windows.values[i : i + 1], baselines=bases, labels=None)


def _other_values(windows: Windows) -> NDArray[np.float32]:
    """The same windows, shaken and stretched: a living model answers something else."""
    rng = np.random.default_rng(0)
    spread = np.maximum(windows.values.std(axis=(0, 2), keepdims=True), 1e-6)
    return np.ascontiguousarray(windows.values + 3 * spread * rng.standard_normal(windows.values.shape), dtype=np.float32)
