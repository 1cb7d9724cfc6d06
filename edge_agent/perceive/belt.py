"""Where is a part by now? The belt's position from its speed or its encoder. Pure; metres, ns."""

from __future__ import annotations

from collections import deque

_KEPT = 4096


class Belt:
    """Remembers how the belt moved. Between two samples, and beyond the last, it moves evenly."""

    def __init__(self, *, encoder: bool, scale: float = 1.0) -> None:
        """`scale` makes metres of an encoder's counts, or metres per second of a speed."""
        self._encoder, self._scale = encoder, scale
        self._past: deque[tuple[int, float, float]] = deque(maxlen=_KEPT)  # time, position, speed from here on
        self.known = False

    def take(self, time_ns: int, value: float | None) -> None:
        """A sample; None: it is no evidence, and until the next nobody knows where anything is."""
        if value is None:
            self.known = False
            self._past.clear()
            return
        self.known = True
        last = self._past[-1] if self._past else None
        if last is not None and time_ns <= last[0]:
            return
        if not self._encoder:
            self._past.append((time_ns, self.position(time_ns) if last else 0.0, max(0.0, value * self._scale)))
            return
        position = value * self._scale
        if last is None or position < last[1]:  # the first, or the counter began anew
            self._past.clear()
            self._past.append((time_ns, position, 0.0))
            return
        speed = (position - last[1]) / ((time_ns - last[0]) / 1e9)
        self._past[-1] = (last[0], last[1], speed)
        self._past.append((time_ns, position, speed))

    def position(self, time_ns: int) -> float:
        """Metres at this time."""
        at = next((entry for entry in reversed(self._past) if entry[0] <= time_ns), None)
        if at is None:
            return self._past[0][1] if self._past else 0.0
        return at[1] + at[2] * (time_ns - at[0]) / 1e9

    def when(self, position: float) -> int | None:
        """When the belt was, or as it moves now will be, at this position; None: it stands, or nobody knows."""
        for time_ns, at, speed in reversed(self._past):
            if at <= position:
                return time_ns + int((position - at) / speed * 1e9) if speed > 0 else time_ns if at == position else None
        return None
