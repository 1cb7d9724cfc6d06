"""How much power lies between which frequencies? Sums of a spectrum's lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_agent.lab.parts.sketch import Sketch
from edge_agent.lab.parts.spectrum import frequencies


def bands(g: Sketch, power: str, *, rows: int, rate_hz: float, edges_hz: Sequence[tuple[float, float]]) -> str:
    """[N, C, F] to [N, C, B]: each band holds the lines from its lower edge on, up to but without its upper edge."""
    lines = frequencies(rows, rate_hz)
    inside = np.array([(lines >= low) & (lines < high) for low, high in edges_hz]).T
    if empty := [edges_hz[int(b)] for b in np.flatnonzero(~inside.any(axis=0))]:
        raise ValueError(f"no line of the spectrum lies in {empty[0][0]:g}..{empty[0][1]:g} Hz; lines are {rate_hz / rows:g} Hz apart")
    return g.node("MatMul", power, g.constant(inside))
