"""How does a broken sensor look? Each fault changes rows of one channel and nothing else; seeded, so that figures repeat. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]  # [R, C], in the order of time
Fault = Callable[[Rows, int, np.random.Generator], Rows]


def noise(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """White noise, as strong as the channel's own movement."""
    return _changed(rows, channel, rows[:, channel] + rng.normal(0.0, _spread(rows, channel), len(rows)))


def bias(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """Three times its own movement too high."""
    return _changed(rows, channel, rows[:, channel] + 3 * _spread(rows, channel))


def gain(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """A third too large."""
    return _changed(rows, channel, rows[:, channel] * 4 / 3)


def stuck(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """Stands still at the first value."""
    return _changed(rows, channel, np.full(len(rows), rows[0, channel]))


def dropout(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """Every tenth value, on average, is zero."""
    return _changed(rows, channel, np.where(rng.random(len(rows)) < 0.1, 0.0, rows[:, channel]))


def swapped(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """Two tags exchanged: this one and the next."""
    other = (channel + 1) % rows.shape[1]
    made = np.array(rows)
    made[:, [channel, other]] = rows[:, [other, channel]]
    return made


def jitter(rows: Rows, channel: int, rng: np.random.Generator) -> Rows:
    """Time stamps off: each value is that of up to two rows before or behind."""
    at = np.clip(np.arange(len(rows)) + rng.integers(-2, 3, len(rows)), 0, len(rows) - 1)
    return _changed(rows, channel, rows[at, channel])


FAULTS: Mapping[str, Fault] = {
    "noise": noise,
    "bias": bias,
    "gain": gain,
    "stuck": stuck,
    "dropout": dropout,
    "swapped": swapped,
    "jitter": jitter,
}


def _spread(rows: Rows, channel: int) -> float:
    """Movement from row to row, so that a level that changed once does not count; never nothing."""
    steps = np.diff(rows[:, channel]) if len(rows) > 1 else np.zeros(1)
    return max(float(np.std(steps)) / math.sqrt(2), 1e-3 * float(np.abs(rows[:, channel]).mean()), 1e-9)


def _changed(rows: Rows, channel: int, values: Rows) -> Rows:
    made = np.array(rows)
    made[:, channel] = values
    return made
