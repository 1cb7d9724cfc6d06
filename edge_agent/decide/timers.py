"""Has a condition held long enough, has enough time passed, how old is a state? By the source time of the windows, in ns."""

from __future__ import annotations


class Dwell:
    """A condition that must hold for so many seconds *and* so many windows, both without a break.

    true     time since the last true window counts, if nothing unknown lay between; the window counts
    false    starts again from nothing
    unknown  neither counts nor breaks; after `grace_s` without a known answer it starts again from nothing
    Time that stands still or runs backwards brings no progress; backwards starts again from nothing.
    """

    __slots__ = ("_for_ns", "_grace_ns", "_held_ns", "_held_windows", "_last_ns", "_true_ns", "_windows")

    def __init__(self, for_s: float = 0.0, windows: int = 1, grace_s: float = 0.0) -> None:
        self._for_ns, self._windows, self._grace_ns = round(for_s * 1e9), windows, round(grace_s * 1e9)
        self.reset()

    def reset(self) -> None:
        """Start again from nothing."""
        self._held_ns = self._held_windows = 0
        self._true_ns: int | None = None  # end of the last window, if it was true
        self._last_ns: int | None = None  # end of the last window with a known answer

    def step(self, truth: bool | None, at_ns: int) -> bool:
        """Take a window's answer; whether the condition has now held long enough."""
        if truth is False or (self._last_ns is not None and at_ns < self._last_ns):
            self.reset()
        if truth is None:
            self._wait(at_ns)
        elif truth:
            self._hold(at_ns)
        return truth is True and self.done

    def _wait(self, at_ns: int) -> None:
        self._true_ns = None
        if self._last_ns is not None and at_ns - self._last_ns > self._grace_ns:
            self.reset()

    def _hold(self, at_ns: int) -> None:
        if self._true_ns is not None:
            self._held_ns += at_ns - self._true_ns
        if at_ns != self._last_ns:
            self._held_windows += 1
        self._true_ns = self._last_ns = at_ns

    @property
    def done(self) -> bool:
        """Long enough, by time and by windows."""
        return self._held_ns >= self._for_ns and self._held_windows >= self._windows

    @property
    def held_s(self) -> float:
        """How long it has held."""
        return self._held_ns / 1e9

    @property
    def held_windows(self) -> int:
        """For how many windows it has held."""
        return self._held_windows


class CoolDown:
    """So many seconds must pass after something before it may happen again. Time that runs backwards starts it anew."""

    __slots__ = ("_since_ns", "_wait_ns")

    def __init__(self, seconds: float) -> None:
        self._wait_ns = round(seconds * 1e9)
        self.reset()

    def reset(self) -> None:
        """Nothing has happened yet."""
        self._since_ns: int | None = None

    def start(self, at_ns: int) -> None:
        """It happened."""
        self._since_ns = at_ns

    def remaining_s(self, at_ns: int) -> float:
        """Seconds still to wait; 0 when it may happen again."""
        if self._since_ns is None:
            return 0.0
        if at_ns < self._since_ns:
            self._since_ns = at_ns
        return max(0, self._wait_ns - (at_ns - self._since_ns)) / 1e9


class Stay:
    """Which state, and since when. The first time it is asked is when the first state was entered."""

    __slots__ = ("_initial", "_since_ns", "state")

    def __init__(self, initial: str) -> None:
        self._initial = initial
        self.reset()

    def reset(self) -> None:
        """Back in the first state, as if just made."""
        self.state = self._initial
        self._since_ns: int | None = None

    def enter(self, state: str, at_ns: int) -> None:
        """From now on in this state; nothing if it is the same."""
        if state != self.state:
            self.state, self._since_ns = state, at_ns

    def elapsed_s(self, at_ns: int) -> float:
        """Seconds in the state; time that runs backwards starts it anew."""
        if self._since_ns is None or at_ns < self._since_ns:
            self._since_ns = at_ns
        return (at_ns - self._since_ns) / 1e9
