"""How do the parts of many features become the parts of each channel, as a card promises them?"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.lab.parts.sketch import Sketch


def features(g: Sketch, single: Sequence[str], several: Sequence[tuple[str, int]] = (), *, channels: int) -> tuple[str, int]:
    """Pieces [N, C] and (pieces [N, C, k], k) to [N, F], channel by channel; and F / C, how many features a channel has."""
    wide = [*(g.node("Unsqueeze", name, g.whole(-1)) for name in single), *(name for name, _ in several)]
    each = len(single) + sum(k for _, k in several)
    joined = wide[0] if len(wide) == 1 else g.node("Concat", *wide, axis=2)
    return g.node("Reshape", joined, g.whole(-1, channels * each)), each


def contributions(g: Sketch, parts: str, *, channels: int, each: int) -> str:
    """[N, F] to [N, C]: the sum of each channel's features."""
    return g.sum(g.node("Reshape", parts, g.whole(-1, channels, each)))


def logged(g: Sketch, x: str, floor: float = 1e-12) -> str:
    """Logarithm of what is not negative: powers differ by magnitudes, and a PCA thinks in straight lines."""
    return g.node("Log", g.node("Max", x, g.constant(floor)))
