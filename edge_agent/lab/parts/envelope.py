"""How does the strength of a frequency band rise and fall? Envelope of each channel; its spectrum shows a bearing's fault frequencies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edge_agent.lab.parts.sketch import Sketch


class Envelope(NamedTuple):
    """The tensor [N, C, rows] and how fast its rows follow one another."""

    name: str
    rows: int
    rate_hz: float


def envelope(g: Sketch, x: str, *, rows: int, rate_hz: float, band_hz: tuple[float, float]) -> Envelope:
    """[N, C, W] to amplitudes of the analytic signal of what lies in the band: a band-pass and a Hilbert transform in one.

    A band of K lines needs K values to be known, not W: its lines alone are transformed back, so the envelope comes at a lower rate. Only
    its phase is lost by that, and an envelope has none.
    """
    step = rate_hz / rows
    low, high = max(1, int(np.ceil(band_hz[0] / step - 1e-9))), min((rows + 1) // 2, int(np.ceil(band_hz[1] / step - 1e-9)))
    if high <= low:
        raise ValueError(f"no line of the spectrum lies in {band_hz[0]:g}..{band_hz[1]:g} Hz; lines are {step:g} Hz apart")
    size = 1 << (high - low - 1).bit_length()  # a power of two: a fast transform
    lines = g.node("DFT", g.node("Unsqueeze", x, g.whole(-1)), axis=2, onesided=1)  # [N, C, F, re and im]
    band = g.node("Slice", lines, g.whole(low), g.whole(high), g.whole(2))
    filled = g.node("Pad", band, g.whole(0, 0, 0, 0, 0, 0, size - (high - low), 0)) if size > high - low else band
    analytic = g.node("DFT", g.node("Mul", filled, g.constant(2 * size / rows)), axis=2, inverse=1)
    return Envelope(g.node("Sqrt", g.sum(g.node("Mul", analytic, analytic))), size, size * step)
