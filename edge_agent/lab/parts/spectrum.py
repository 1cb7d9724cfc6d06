"""How much power at which frequency? One-sided power spectrum of each channel, Hann window, mean left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab.parts.rms import centred
from edge_agent.lab.parts.sketch import Sketch


def spectrum(g: Sketch, x: str, *, rows: int) -> str:
    """[N, C, W] to [N, C, W // 2 + 1]: squared amplitude / 2 of a sine at its line (scipy: periodogram, hann, scaling="spectrum")."""
    window = hann(rows)
    tapered = g.node("Mul", centred(g, x), g.constant(window))
    lines = g.node("DFT", g.node("Unsqueeze", tapered, g.whole(-1)), axis=2, onesided=1)  # [N, C, F, re and im]
    power = g.sum(g.node("Mul", lines, lines))
    both_sides = np.full(rows // 2 + 1, 2.0)
    both_sides[0] = 1.0
    if rows % 2 == 0:
        both_sides[-1] = 1.0
    return g.node("Mul", power, g.constant(both_sides / window.sum() ** 2))


def hann(rows: int) -> NDArray[np.float64]:
    """Periodic, as a spectrum wants it."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(rows) / rows)


def frequencies(rows: int, rate_hz: float) -> NDArray[np.float64]:
    """Of the spectrum's lines."""
    return np.arange(rows // 2 + 1) * rate_hz / rows
