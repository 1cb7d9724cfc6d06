"""What was a tag's value at this row? Samples of one tag in order of time, held or interpolated."""

from __future__ import annotations

from array import array
from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from edge_agent.messages import UNFIT, Quality, Value

_UNFIT = int(UNFIT | Quality.UNCERTAIN)
_HELD = int(Quality.HELD)
_GAP = int(Quality.GAP)
_STALE = int(Quality.STALE)
_TYPE = int(Quality.TYPE)
_FUTURE = int(Quality.FUTURE)
_LATE = int(Quality.LATE)
_NAN = float("nan")
_NUMBERS = (float, int)  # a tuple made once: `float | int` makes a new union at each call
_PENDING = 100_000  # samples of one tag waiting for their row; the oldest goes first, and is counted


class Channel:
    """One tag of one loop. A value that is not fit is bridged by the last fit one for at most `reach_ns`."""

    __slots__ = ("_fit", "_flags", "_linear", "_pending", "_strict", "dropped", "late", "newest_ns", "reach_ns", "tag", "valid_ns")

    def __init__(self, tag: str, *, reach_ns: int, strict: bool, linear: bool) -> None:
        self.tag = tag
        self.reach_ns = reach_ns
        self._strict = strict  # has a max_age: only a new sample keeps it fresh, not a living link
        self._linear = linear
        self._pending: deque[tuple[int, float, int]] = deque()
        self._fit: tuple[int, float] | None = None
        self._flags = _GAP  # of the newest sample at or before the last row
        self.newest_ns = 0
        self.valid_ns = 0  # the device said that nothing had changed up to here
        self.late = 0
        self.dropped = 0

    def push(self, time_ns: int, value: Value, quality: int, row_ns: int) -> None:
        """Take a sample; `row_ns` is the newest row already cut."""
        number = float(value) if isinstance(value, _NUMBERS) else _NAN
        if number != number and not quality & _UNFIT:
            quality |= _TYPE
        entry = (time_ns, number, quality)
        if time_ns <= row_ns:
            self.late += 1
            if self._fit is None or time_ns > self._fit[0]:
                self._settle((time_ns, number, quality | _LATE))
        elif self._pending and time_ns < self._pending[-1][0]:
            insort(self._pending, entry)
        else:
            self._pending.append(entry)
        if len(self._pending) > _PENDING:
            self._pending.popleft()
            self.dropped += 1
        if time_ns > self.newest_ns and not quality & _FUTURE:
            self.newest_ns = time_ns

    def alive(self, time_ns: int) -> None:
        """The device lives and reports by exception: what it has not sent has not changed."""
        if not self._strict and time_ns > self.valid_ns:
            self.valid_ns = time_ns

    def at(self, row_ns: int) -> tuple[float, int]:
        """Value and quality flags at a row; rows are asked for in rising order."""
        pending = self._pending
        while pending and pending[0][0] <= row_ns:
            self._settle(pending.popleft())
        if self._fit is None:
            return _NAN, self._flags | _GAP
        time_ns, value = self._fit
        if row_ns - max(time_ns, self.valid_ns if not self._flags & _UNFIT else 0) > self.reach_ns:
            return _NAN, self._flags | (_STALE if self._strict else _GAP)
        if self._flags & _UNFIT:
            return value, self._flags | _HELD
        if self._linear and time_ns < row_ns:
            return self._between(time_ns, value, row_ns), self._flags | _HELD
        return value, self._flags

    def _between(self, time_ns: int, value: float, row_ns: int) -> float:
        if not self._pending:
            return value
        next_ns, next_value, quality = self._pending[0]
        if quality & _UNFIT or next_ns - time_ns > self.reach_ns:
            return value
        return value + (next_value - value) * ((row_ns - time_ns) / (next_ns - time_ns))

    def _settle(self, entry: tuple[int, float, int]) -> None:
        time_ns, value, self._flags = entry
        if not self._flags & _UNFIT:
            self._fit = (time_ns, value)

    def rebase(self, now_ns: int) -> None:
        """The time axis jumped: keep the last value, drop what would lie ahead of now."""
        while self._pending and self._pending[-1][0] > now_ns:
            self._pending.pop()
            self.dropped += 1
        if self._fit is not None:
            self._fit = (min(self._fit[0], now_ns), self._fit[1])
        self.newest_ns, self.valid_ns = min(self.newest_ns, now_ns), min(self.valid_ns, now_ns)


class Ring:
    """The last `rows` rows of all channels, row after row in two plain arrays: numpy comes in once a window, not once a row."""

    __slots__ = ("_channels", "_most", "_quality", "_rows", "_values", "count")

    def __init__(self, channels: int, rows: int) -> None:
        self._channels, self._rows = channels, rows
        self._most = (2 * rows + 16) * channels  # then the oldest go, many at a time
        self._values: array[Any] = array("f")
        self._quality: array[Any] = array("H")
        self.count = 0

    def append(self, row: Iterable[tuple[float, int]]) -> None:
        """One row: value and quality flags of each channel."""
        for value, quality in row:
            self._values.append(value)
            self._quality.append(quality)
        self.count += 1
        if len(self._values) >= self._most:
            del self._values[: -self._rows * self._channels]
            del self._quality[: -self._rows * self._channels]

    def latest(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of the last `rows` rows: values float32, quality uint16, both [channels, rows]."""
        return self._cut(self._values, np.float32), self._cut(self._quality, np.uint16)

    def _cut(self, column: array[Any], dtype: type[np.generic]) -> np.ndarray:
        return np.frombuffer(column, dtype)[-self._rows * self._channels :].reshape(self._rows, self._channels).T.copy()
