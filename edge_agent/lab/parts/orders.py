"""How strong is a vibration at multiples of the shaft's speed, whatever that speed does? Order spectrum against the shaft's own angle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_agent.lab.parts.rms import centred
from edge_agent.lab.parts.sketch import Sketch
from edge_agent.lab.parts.spectrum import hann


def orders(g: Sketch, x: str, speed_hz: str, *, rows: int, rate_hz: float, of: Sequence[float]) -> str:
    """[N, C, W] and the speed [N, 1, W] in revolutions a second to amplitudes [N, C, orders].

    The angle is the running sum of the speed; each order is the signal's part that turns with it (time variant DFT, Blough 1998). Orders
    closer than two revolutions' worth of lines cannot be told apart: take windows of ten revolutions or more.
    """
    turns = g.node("Mul", g.node("CumSum", speed_hz, g.constant(2, np.int64)), g.constant(2 * np.pi / rate_hz))  # [N, 1, W], radians
    angles = g.node("Mul", g.constant(np.array(of)[:, None]), turns)  # [N, orders, W]
    window = hann(rows)
    tapered = g.node("Mul", centred(g, x), g.constant(2 * window / window.sum()))
    parts = [g.node("MatMul", tapered, g.node("Transpose", g.node(wave, angles), perm=[0, 2, 1])) for wave in ("Cos", "Sin")]
    return g.node("Sqrt", g.node("Add", *(g.node("Mul", part, part) for part in parts)))
