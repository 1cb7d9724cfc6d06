"""Does this loop still see what its model was trained on? Slow statistics of score, novelty and inputs against the card's. Pure numpy.

Three watches, each over the last `over` of windows that lie end to end (a window counts again once another one, or a 200th of `over`,
has passed; an alarm does not count: that is the model's own business):

- score, where the card has a histogram of it (`drift: score:`): population stability index and Kolmogorov-Smirnov distance by bins;
- novelty, against what the envelope's own quantiles say: the same two, toward strange only;
- inputs, level and spread of each channel: a moving average in deviations of the training windows.

A finding needs both size and significance, stands until it has fallen to 0.8 of its limit, and is no reason to refuse a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.model import Drift
from edge_agent.diagnose.card import Envelope, Histogram

Floats = NDArray[np.float64]

FEWEST = 50  # windows before anything is said
MEMORY = 200  # windows that the averages reach back, once there are so many
BINS = 10
_CHI2 = {9: 27.88}  # of 9 degrees of freedom at 0.999: a PSI times its number of windows is distributed so
_KS = 1.95  # of Kolmogorov's distribution at 0.999, divided by the root of the number of windows
_CLEARS = 0.8  # of a limit
_FAR = 10.0  # deviations: one torn sensor is no average
_EMPTY = 1e-4  # share of a bin that nothing fell into: keeps the logarithm finite


class Weights:
    """How much the next window counts: all alike at first, then a moving average over MEMORY of them."""

    def __init__(self) -> None:
        self.seen = 0
        self._squares = 0.0

    def next(self) -> float:
        """The weight of one more window."""
        self.seen += 1
        weight = max(1.0 / self.seen, 1.0 / MEMORY)
        self._squares = (1.0 - weight) ** 2 * self._squares + weight**2
        return weight

    @property
    def effective(self) -> float:
        """As many equally weighted windows would be as certain."""
        return 1.0 / self._squares if self._squares else 0.0


class Binned:
    """A moving histogram beside its reference: `edges` [n] rise, `share` [n + 1] sums to 1."""

    def __init__(self, edges: Sequence[float], share: Sequence[float]) -> None:
        self._edges, self._usual = np.array(edges), np.array(share)
        self._share = np.zeros(len(share))

    def take(self, value: float, weight: float) -> None:
        """One more value."""
        self._share *= 1.0 - weight
        self._share[int(np.searchsorted(self._edges, value, side="right"))] += weight

    def psi(self) -> float:
        """Population stability index: 0 the same; above 0.25 another population, as credit scoring has it (Siddiqi 2006)."""
        usual, now = np.maximum(self._usual, _EMPTY), np.maximum(self._share, _EMPTY)
        return float(((now - usual) * np.log(now / usual)).sum())

    def ks(self) -> float:
        """By how much the values lie above the usual ones (negative: below): the largest distance of the two distributions at an edge."""
        apart = np.cumsum(self._usual - self._share)[:-1]
        return float(apart[int(np.abs(apart).argmax())])


class Watch:
    """The drift watch of one loop. State: two histograms of ten bins and one average for each level and spread."""

    def __init__(self, config: Drift, *, envelope: Envelope | None, score: Histogram | None, tags: Sequence[str]) -> None:
        self._config = config
        self._score = Binned(score.edges, score.share) if score else None
        self._novelty = Binned(*_usual_novelty(envelope)) if envelope else None
        self._names = [f"{tag} {kind}" for kind in ("level", "spread") for tag in tags]
        self._shift = np.zeros(len(self._names))
        self._weights = Weights()
        self._last_ns: int | None = None
        self.found: tuple[str, ...] = ()

    def due(self, start_ns: int, end_ns: int) -> bool:
        """Whether a window counts: it follows the last that did, end to end and not too soon. After a step of the clock: at once."""
        if self._last_ns is None or end_ns < self._last_ns:
            return True
        return start_ns >= self._last_ns and end_ns - self._last_ns >= self._config.over * 1e9 / MEMORY

    def take(self, end_ns: int, raw: float | None, novelty: float | None, scaled: Floats | None) -> tuple[str, ...]:
        """Count a window; what drifts now. `scaled` [2C]: level and spread of each channel in training deviations from the middle."""
        self._last_ns = end_ns
        weight = self._weights.next()
        if self._score and raw is not None:
            self._score.take(raw, weight)
        if self._novelty and novelty is not None:
            self._novelty.take(novelty, weight)
        if scaled is not None:
            self._shift += weight * (np.clip(scaled, -_FAR, _FAR) - self._shift)
        self.found = tuple(self._findings()) if self._weights.seen >= FEWEST else ()
        return self.found

    def status(self) -> dict[str, object]:
        """The figures behind it, JSON-able."""
        worst = int(np.abs(self._shift).argmax()) if self._novelty and self._weights.seen else None
        return {
            "windows": self._weights.seen,
            "drifting": bool(self.found),
            "found": list(self.found),
            "score_psi": self._score.psi() if self._score and self._weights.seen else None,
            "novelty_ks": self._novelty.ks() if self._novelty and self._weights.seen else None,
            "shift": None if worst is None else abs(float(self._shift[worst])),
            "shifted": None if worst is None else self._names[worst],
        }

    def _findings(self) -> list[str]:
        windows, easier = self._weights.effective, {text.split(":")[0]: _CLEARS for text in self.found}
        found = []
        limit = easier.get("score", 1.0) * max(self._config.psi, _CHI2[BINS - 1] / windows)
        if self._score and (psi := self._score.psi()) > limit and self._score.ks() > 0:
            found.append(f"score: PSI {psi:.2f}, higher than in training")
        if self._novelty and (ks := self._novelty.ks()) > easier.get("novelty", 1.0) * max(self._config.ks, _KS / windows**0.5):
            found.append(f"novelty: KS {ks:.2f}, farther out than in training")
        for i in np.argsort(-np.abs(self._shift), kind="stable")[:3]:
            name, shift = self._names[i], float(self._shift[i])
            if abs(shift) > easier.get(name, 1.0) * self._config.shift:
                found.append(f"{name}: {shift:+.1f} deviations")
        return found


def _usual_novelty(envelope: Envelope) -> tuple[list[float], list[float]]:
    """Edges and shares of the novelty of the training windows themselves: even, unless `reach` has pushed them down."""
    distances, q = np.array(envelope.distances), np.array(envelope.q)
    edges = np.arange(1, BINS) / BINS
    below = np.interp(np.interp(edges, q, distances * envelope.reach), distances, q)
    return edges.tolist(), np.diff(below, prepend=0.0, append=1.0).tolist()
