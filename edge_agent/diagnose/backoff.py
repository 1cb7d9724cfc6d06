"""How long does a model that was late or crashed stand aside? Longer each time, so that it cannot starve the others."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST_S = 60.0
_FORGIVEN_AFTER = 1000  # good runs


@dataclass(slots=True)
class Backoff:
    """Strikes against one model, or against the worker itself."""

    strikes: int = 0
    until: float = 0.0  # monotonic seconds of the event loop
    good: int = 0

    def strike(self, now: float) -> float:
        """Count a failure; the seconds to stand aside: 0 for the first, then 1, 2, 4 ... 60."""
        self.strikes, self.good = self.strikes + 1, 0
        pause = 0.0 if self.strikes == 1 else min(2.0 ** (self.strikes - 2), _LONGEST_S)
        self.until = now + pause
        return pause

    def well(self) -> None:
        """Count a success; enough of them and all is forgiven."""
        self.good += 1
        if self.good >= _FORGIVEN_AFTER:
            self.strikes = self.good = 0
