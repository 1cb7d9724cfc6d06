"""What share of clean, of foreign and of broken windows does a card's novelty gate refuse? Measured by recipes and by `inspect`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.card import Envelope
from edge_agent.diagnose.trust import Familiarity

Windows = NDArray[np.floating]
SCALES = (0.1, 1 / 3, 3.0, 10.0)  # a wrong unit or gain on all channels


def refused(
    envelope: Envelope, limit: float, windows: Windows, baselines: Windows | None = None, own: Callable[[Windows], Windows] | None = None
) -> float:
    """Share of windows [N, C, W] whose novelty, or the graph's own (`own`), reaches the limit; NaN without any window."""
    if not len(windows):
        return float("nan")
    familiar = Familiarity(envelope)
    bases: list[Windows | None] = [None] * len(windows) if baselines is None else list(baselines)
    found = np.array([familiar.novelty(w, b) for w, b in zip(windows, bases, strict=True)])
    return float((np.maximum(found, own(windows)) >= limit).mean() if own else (found >= limit).mean())


def figures(
    envelope: Envelope,
    limit: float,
    clean: Windows,
    *,
    baselines: Windows | None = None,
    others: Mapping[str, Windows] | None = None,
    own: Callable[[Windows], Windows] | None = None,
) -> dict[str, float]:
    """Shares refused: of clean held-out windows, of the same at another scale, with each sensor broken in turn, and of other machines."""
    result = {"refused_clean": refused(envelope, limit, clean, baselines, own)}
    result["refused_other_scale"] = float(np.mean([refused(envelope, limit, clean * s, baselines, own) for s in SCALES]))
    for name, change in SABOTAGE.items():
        each = [refused(envelope, limit, change(clean, c), baselines, own) for c in range(clean.shape[1])]
        result[f"refused_{name}"] = float(np.mean(each))
    result["refused_broken_sensor"] = float(np.mean([result[f"refused_{name}"] for name in SABOTAGE]))
    for name, windows in (others or {}).items():
        result[f"refused_{name}"] = refused(envelope, limit, windows, None if baselines is None else baselines[: len(windows)], own)
    return {name: round(share, 4) for name, share in result.items()}


def _zero(windows: Windows, channel: int) -> Windows:
    changed = windows.copy()
    changed[:, channel] = 0.0
    return changed


def _stuck(windows: Windows, channel: int) -> Windows:
    """Stands still at the first value of the window."""
    changed = windows.copy()
    changed[:, channel] = windows[:, channel, :1]
    return changed


def _rail(windows: Windows, channel: int) -> Windows:
    """Sticks at a rail far above all that was seen."""
    changed = windows.copy()
    seen = windows[:, channel]
    changed[:, channel] = seen.max() + 5 * (np.ptp(seen) + abs(seen.max()))
    return changed


def _noisy(windows: Windows, channel: int) -> Windows:
    """White noise, ten times as strong as the channel's own movement; a seed of its own, so that figures repeat."""
    changed = windows.copy()
    seen = windows[:, channel]
    strong = 10 * max(float(seen.std()), 1e-6 * float(np.abs(seen).max()))
    changed[:, channel] = seen + np.random.default_rng(channel).normal(0.0, strong, seen.shape)
    return changed


SABOTAGE: dict[str, Callable[[Windows, int], Windows]] = {
    "sensor_zero": _zero,
    "sensor_stuck": _stuck,
    "sensor_rail": _rail,
    "sensor_noisy": _noisy,
}
