"""How far is a device's clock from ours, and which time do its values get?"""

from __future__ import annotations

from collections import deque

_SEEN = 64  # samples behind one estimate
_LOW = _SEEN // 8  # which of them, from below: network delay only ever adds, single wrong stamps are outvoted


class ClockOffset:
    """Estimates received - source per connector. Source times are trusted as they are while the estimate stays within
    `skew_ns` of zero; beyond, they are shifted by it (a PLC whose clock stands at 2000-01-01 still aligns)."""

    __slots__ = ("_deltas", "_fresh", "_skew_ns", "estimate_ns", "shift_ns")

    def __init__(self, skew_ns: int) -> None:
        self._skew_ns = skew_ns
        self._deltas: deque[int] = deque(maxlen=_SEEN)
        self._fresh = 0
        self.estimate_ns = 0
        self.shift_ns = 0  # what is added to a source time

    def observe(self, source_ns: int, received_ns: int) -> bool:
        """Take one sample's times; True if the shift changed by more than the allowed skew."""
        self._deltas.append(received_ns - source_ns)
        self._fresh += 1
        if self._fresh < _SEEN:
            return False
        self._fresh = 0
        self.estimate_ns = sorted(self._deltas)[_LOW]
        return self._shift(self.estimate_ns if abs(self.estimate_ns) > self._skew_ns else 0)

    def _shift(self, shift_ns: int) -> bool:
        if abs(shift_ns - self.shift_ns) <= self._skew_ns:
            return False
        self.shift_ns = shift_ns
        return True
