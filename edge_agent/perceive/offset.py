"""How far is a device's clock from ours, and which time do its values get?"""

from __future__ import annotations

from collections import deque

_SEEN = 64  # samples behind one look
_LOW = _SEEN // 8  # which of them, from below: network delay only ever adds, single wrong stamps are outvoted
_PATIENCE_NS = 10_000_000_000  # values that were kept back in an outage look like a clock that is behind, but not for so long


class ClockOffset:
    """Estimates received - source per connector. Source times are trusted as they are while the estimate stays within
    `skew_ns` of zero; beyond, they are shifted by it (a PLC whose clock stands at 2000-01-01 still aligns). That a clock is
    ahead is proof at once; that it is behind could be lateness, and has to last."""

    __slots__ = ("_began_ns", "_block", "_lows", "_skew_ns", "estimate_ns", "shift_ns")

    def __init__(self, skew_ns: int) -> None:
        self._skew_ns = skew_ns
        self._block: list[int] = []
        self._began_ns = 0  # when the block's first sample was received
        self._lows: deque[tuple[int, int]] = deque()  # of each block: when it began, its low
        self.estimate_ns = 0
        self.shift_ns = 0  # what is added to a source time

    def observe(self, source_ns: int, received_ns: int) -> bool:
        """Take one sample's times; True if the shift changed by more than the allowed skew."""
        if not self._block:
            self._began_ns = received_ns
        self._block.append(received_ns - source_ns)
        if len(self._block) < _SEEN:
            return False
        self._lows.append((self._began_ns, sorted(self._block)[_LOW]))
        self._block.clear()
        return self._look(received_ns)

    def _look(self, received_ns: int) -> bool:
        lows = self._lows
        while len(lows) > 1 and received_ns - lows[1][0] >= _PATIENCE_NS:
            lows.popleft()
        lowest = min(low for _, low in lows)
        if lowest - self.shift_ns > self._skew_ns and received_ns - lows[0][0] < _PATIENCE_NS:
            return False
        self.estimate_ns = lowest
        return self._shift(lowest if abs(lowest) > self._skew_ns else 0)

    def _shift(self, shift_ns: int) -> bool:
        if abs(shift_ns - self.shift_ns) <= self._skew_ns:
            return False
        self.shift_ns = shift_ns
        self._lows.clear()
        return True
