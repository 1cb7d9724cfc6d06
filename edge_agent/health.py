"""Does every part make progress? The watchdog is fed only then."""

from __future__ import annotations

from edge_agent.clock import Clock


class Health:
    """Parts promise to report within a time; whoever does not is stuck."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._within_ns: dict[str, int] = {}
        self._last_ns: dict[str, int] = {}

    def expect(self, part: str, within_s: float) -> None:
        """From now on `part` reports at least every `within_s` seconds."""
        self._within_ns[part] = int(within_s * 1e9)
        self._last_ns[part] = self._clock.mono_ns()

    def forget(self, part: str) -> None:
        """The part was stopped on purpose."""
        self._within_ns.pop(part, None)
        self._last_ns.pop(part, None)

    def progress(self, part: str) -> None:
        """The part has just finished a round."""
        self._last_ns[part] = self._clock.mono_ns()

    def stuck(self) -> list[str]:
        """Who is overdue, with for how long: "loop p1: no progress for 31 s"."""
        now_ns = self._clock.mono_ns()
        late = {p: now_ns - self._last_ns[p] for p, within in self._within_ns.items() if now_ns - self._last_ns[p] > within}
        return [f"{part}: no progress for {ns / 1e9:.0f} s" for part, ns in late.items()]
