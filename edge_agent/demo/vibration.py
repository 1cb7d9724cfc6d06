"""What does an accelerometer on the pump's bearing hear? One block of acceleration in m/s2.

Rotating frequency n / 60 with harmonics and the vane pass (Guelich, Centrifugal Pumps, chapter 10); imbalance drives the first
order with the square of the speed (ISO 21940); cavitation adds broadband noise, modulated by the rotation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 5000.0
BLOCK = 512
VANES = 6

_ORDERS = ((1.0, 0.55), (2.0, 0.25), (3.0, 0.10), (float(VANES), 0.45))  # order, amplitude in m/s2 at rated speed


def block(
    rng: np.random.Generator, *, speed_rpm: float, cavitation: float, imbalance: float, rated_rpm: float = 2900.0
) -> NDArray[np.float32]:
    """BLOCK samples at RATE_HZ, float32. `cavitation` and `imbalance` run from 0 to 1."""
    share = (speed_rpm / rated_rpm) ** 2
    angle = 2.0 * np.pi * (speed_rpm / 60.0) / RATE_HZ * np.arange(BLOCK) + rng.uniform(0.0, 2.0 * np.pi)
    wave = 0.08 * rng.standard_normal(BLOCK)
    for order, amplitude in _ORDERS:
        growth = 5.0 * imbalance if order == 1.0 else 0.0
        scatter = 1.0 + 0.05 * rng.standard_normal()
        wave += share * (amplitude * scatter + growth) * np.sin(order * angle + rng.uniform(0.0, 2.0 * np.pi) * (order != 1.0))
    wave += (0.25 + 3.0 * cavitation * (1.0 + 0.4 * np.sin(angle))) * share * _hiss(rng)
    return wave.astype(np.float32)


def _hiss(rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit variance, weighted to the upper half of the band: what collapsing bubbles sound like."""
    white = rng.standard_normal(BLOCK + 1)
    return np.asarray((white[1:] - 0.6 * white[:-1]) / np.hypot(1.0, 0.6), dtype=np.float64)
