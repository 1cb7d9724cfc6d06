"""How far may this answer be trusted? Novelty against the training envelope, calibration, smoothing. Pure numpy, float64."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.card import Calibration, Envelope

Floats = NDArray[np.float64]

DEAD = 1e-9  # added to a standard deviation before its logarithm: a channel that stands still is far from all that moves


def features(windows: NDArray[np.floating], baseline: NDArray[np.floating] | None = None, *, log: bool = False) -> Floats:
    """[..., C, W] (and a baseline [..., 2, C]) to [..., 2C]: mean of each channel, then (log of the) standard deviation of each."""
    data = np.asarray(windows, dtype=np.float64)
    mean = np.add.reduce(data, axis=-1) / data.shape[-1]
    centred = data - mean[..., None]
    std = np.sqrt(np.einsum("...i,...i->...", centred, centred) / data.shape[-1])
    if baseline is not None:
        centre, scale = np.moveaxis(np.asarray(baseline, dtype=np.float64), -2, 0)
        mean, std = (mean - centre) / scale, std / scale
    return np.concatenate([mean, np.log(std + DEAD) if log else std], axis=-1)


def distances(feature: Floats, centre: Floats, scale: Floats, precision: Floats | None) -> Floats:
    """Mahalanobis distance [...] of features [..., 2C] from the centre; Euclidean in scaled features without a precision."""
    z = (feature - centre) / scale
    squared = np.einsum("...i,ij,...j->...", z, precision, z) if precision is not None else np.einsum("...i,...i->...", z, z)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def nearest(z: Floats, modes: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Distance [...] of scaled features [..., 2C] to the nearest of the modes (centre, precision)."""
    one = np.ones(z.shape[-1])
    return np.asarray(np.minimum.reduce([distances(z, centre, one, precision) for centre, precision in modes]))


class Familiarity:
    """Says how far a window lies outside what the model was trained on, and which channels put it there."""

    def __init__(self, envelope: Envelope) -> None:
        self._centre, self._scale = np.array(envelope.centre), np.array(envelope.scale)
        self._precision = None if envelope.precision is None else np.array(envelope.precision)
        self._modes = [(np.array(mode.centre), np.array(mode.precision)) for mode in envelope.modes]
        self._log = envelope.spread == "log"
        self._distances, self._q = [distance * envelope.reach for distance in envelope.distances], envelope.q
        self._low = None if envelope.low is None else np.array(envelope.low)
        self._high = None if envelope.high is None else np.array(envelope.high)

    def novelty(self, values: NDArray[np.floating], baseline: NDArray[np.floating] | None = None) -> float:
        """Share (0..1) of the training windows that lay nearer to the training data's centre than this one."""
        if self._outside(values):
            return 1.0
        distance = float(self._distance(features(values, baseline, log=self._log)))
        if distance < self._distances[0]:
            return 0.0
        return 1.0 if distance > self._distances[-1] else between(distance, self._distances, self._q)

    def scaled(self, values: NDArray[np.floating], baseline: NDArray[np.floating] | None = None) -> Floats:
        """[2C]: level, then spread of each channel, in deviations of the training windows from their middle."""
        return np.asarray((features(values, baseline, log=self._log) - self._centre) / self._scale)

    def why(self, values: NDArray[np.floating], baseline: NDArray[np.floating] | None, tags: Sequence[str]) -> str:
        """Name the tags that make the window strange, the strangest first."""
        if outside := self._outside(values):
            return "; ".join(self._beyond(values, c, tags[c]) for c in outside[:3])
        z = self.scaled(values, baseline)
        worst = [int(i) for i in np.argsort(-np.abs(z), kind="stable")[:2]]
        kinds = ("level", "spread")
        return "; ".join(f"{tags[i % len(tags)]}: {kinds[i // len(tags)]} {abs(z[i]):.1f} times the usual deviation off" for i in worst)

    def _distance(self, feature: Floats) -> Floats:
        if not self._modes:
            return distances(feature, self._centre, self._scale, self._precision)
        return nearest((feature - self._centre) / self._scale, self._modes)

    def _outside(self, values: NDArray[np.floating]) -> list[int]:
        if self._low is None or self._high is None:
            return []
        out = (values.min(axis=1) < self._low) | (values.max(axis=1) > self._high)
        return [int(c) for c in np.flatnonzero(out)]

    def _beyond(self, values: NDArray[np.floating], c: int, tag: str) -> str:
        low, high = values[c].min(), values[c].max()
        if self._low is not None and low < self._low[c]:
            return f"{tag}: {low:.4g} lies below the {self._low[c]:.4g} it knows"
        return f"{tag}: {high:.4g} lies above the {0.0 if self._high is None else self._high[c]:.4g} it knows"

    @property
    def neutral(self) -> Floats:
        """Mean of each channel [C] in the middle of the training data (in baseline units if there is a baseline)."""
        return self._centre[: self._centre.size // 2]


def calibrate(raw: float, calibration: Calibration | None) -> float:
    """Raw score to 0..1; as it is without a calibration."""
    return raw if calibration is None else between(raw, calibration.raw, calibration.score)


def between(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """numpy.interp for one number, ten times faster: on the line between the two points beside it, flat beyond the ends."""
    at = bisect_right(xs, x) - 1
    if at < 0:
        return ys[0]
    if at >= len(xs) - 1:
        return ys[-1]
    return (ys[at + 1] - ys[at]) / (xs[at + 1] - xs[at]) * (x - xs[at]) + ys[at]


def uncalibrate(score: float | None, calibration: Calibration | None) -> float | None:
    """The lowest raw score that is calibrated to this score."""
    if score is None or calibration is None:
        return score
    first = next((i for i, s in enumerate(calibration.score) if s >= score), len(calibration.score) - 1)
    near = slice(max(first - 1, 0), first + 1)
    return float(np.interp(score, calibration.score[near], calibration.raw[near]))


class Median:
    """Running median of the last `size` windows. Windows without an answer count as passed: old answers leave in time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: deque[tuple[int, Sequence[float]]] = deque(maxlen=size)

    def add(self, seq: int, values: Sequence[float]) -> list[float]:
        """Take the values of window `seq` and return the median of each."""
        self._kept.append((seq, values))
        while self._kept[0][0] <= seq - self._size:
            self._kept.popleft()
        return [_middle(sorted(column)) for column in zip(*(v for _, v in self._kept), strict=True)]

    def agreement(self, limit: float) -> float:
        """Share of the kept windows whose first value lies on the same side of the limit as most do."""
        beyond = sum(v[0] >= limit for _, v in self._kept)
        return max(beyond, len(self._kept) - beyond) / len(self._kept) if self._kept else 0.0

    def clear(self) -> None:
        """Forget."""
        self._kept.clear()


def _middle(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
