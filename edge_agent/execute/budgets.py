"""How much, how often and how far has a tag been moved lately? Monotonic time, bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge_agent.execute.gate.facts import Scalar, SpentFacts
from edge_agent.execute.gate.values import number

_HOUR_NS = 3_600_000_000_000
_MOST = 2048  # events kept for one tag; beyond, the two oldest become one with the later time, which only errs to the strict side


@dataclass(frozen=True, slots=True)
class _Move:
    at_ns: int
    writes: int
    change: float
    reversals: int
    low: float
    high: float


class Budgets:
    """The account of one tag. A write is booked when it is intended, so that one of unknown outcome counts too."""

    def __init__(self, *, start_ns: int, change_s: float | None, drift_s: float | None) -> None:
        self._last_ns = start_ns
        self._change_ns = int((change_s or 0.0) * 1e9)
        self._drift_ns = int((drift_s or 0.0) * 1e9)
        self._longest_ns = max(_HOUR_NS, self._change_ns, self._drift_ns)
        self._direction = 0
        self._moves: deque[_Move] = deque()

    def book(self, now_ns: int, before: Scalar | None, after: object) -> None:
        """A write is about to leave."""
        old, new = number(before), number(after)
        change = new - old if old is not None and new is not None else 0.0
        direction = (change > 0) - (change < 0)
        turned = int(direction * self._direction < 0)
        low, high = (min(old, new), max(old, new)) if old is not None and new is not None else (float("inf"), float("-inf"))
        self._moves.append(_Move(now_ns, 1, abs(change), turned, low, high))
        self._direction = direction or self._direction
        self._last_ns = now_ns
        self._trim(now_ns)

    def since_last_s(self, now_ns: int) -> float:
        """Seconds since a write left."""
        return (now_ns - self._last_ns) / 1e9

    def spent(self, now_ns: int, current: Scalar | None) -> SpentFacts:
        """What is used at this moment, the tag reading `current`."""
        self._trim(now_ns)
        hour = [move for move in self._moves if now_ns - move.at_ns < _HOUR_NS]
        drift = [move for move in self._moves if now_ns - move.at_ns < self._drift_ns]
        here = number(current)
        return SpentFacts(
            change=sum(move.change for move in self._moves if now_ns - move.at_ns < self._change_ns) + 0.0,
            lowest=None if here is None else min([here, *(move.low for move in drift)]),
            highest=None if here is None else max([here, *(move.high for move in drift)]),
            since_last_s=self.since_last_s(now_ns),
            writes_hour=sum(move.writes for move in hour),
            reversals_hour=sum(move.reversals for move in hour),
            direction=self._direction,
        )

    def _trim(self, now_ns: int) -> None:
        while self._moves and now_ns - self._moves[0].at_ns >= self._longest_ns:
            self._moves.popleft()
        if len(self._moves) > _MOST:
            a, b = self._moves.popleft(), self._moves.popleft()
            both = (a.writes + b.writes, a.change + b.change, a.reversals + b.reversals, min(a.low, b.low), max(a.high, b.high))
            self._moves.appendleft(_Move(b.at_ns, *both))
