"""What did an inspection find, and which tier may the model serve for all that?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["pass", "note", "limit", "refuse"]
TIERS = 2  # the highest there is for a model


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question, answered: `tier` is the highest tier that this answer still allows."""

    check: str
    level: Level
    said: str
    tier: int = TIERS
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def reply(self) -> dict[str, Any]:
        """JSON-able."""
        found = {"check": self.check, "level": self.level, "said": self.said, "tier": self.tier}
        return found | ({"numbers": dict(self.numbers)} if self.numbers else {})


def passed(check: str, said: str, **numbers: Any) -> Finding:
    """Nothing to object."""
    return Finding(check=check, level="pass", said=said, numbers=numbers)


def note(check: str, said: str, **numbers: Any) -> Finding:
    """Worth knowing; changes nothing."""
    return Finding(check=check, level="note", said=said, numbers=numbers)


def limit(check: str, tier: int, said: str, **numbers: Any) -> Finding:
    """Good for loops up to this tier only."""
    return Finding(check=check, level="limit", said=said, tier=tier, numbers=numbers)


def refusal(check: str, said: str, **numbers: Any) -> Finding:
    """Not to be used at all."""
    return Finding(check=check, level="refuse", said=said, tier=-1, numbers=numbers)


def verdict(found: Sequence[Finding], intended: int) -> tuple[bool, int, str]:
    """Whether it may be used, up to which tier, and why not higher."""
    refused = [f for f in found if f.level == "refuse"]
    if refused:
        return False, -1, "; ".join(f"{f.check}: {f.said}" for f in refused)
    tier = min([intended, *(f.tier for f in found)])
    why = [f"{f.check}: {f.said}" for f in found if f.level == "limit" and f.tier < intended]
    return True, tier, "; ".join(why) or "as its card intends"
