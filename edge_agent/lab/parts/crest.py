"""How far do the peaks stand out? Crest factor of each channel: peak over RMS; 1.41 for a sine, above 5 for single shocks."""

from __future__ import annotations

from edge_agent.lab.parts.rms import centred, rms
from edge_agent.lab.parts.sketch import Sketch

_STILL = 1e-6  # of an RMS


def crest(g: Sketch, x: str) -> str:
    """[N, C, W] to [N, C]."""
    peak = g.node("ReduceMax", g.node("Abs", centred(g, x)), g.whole(-1), keepdims=0)
    return g.node("Div", peak, g.node("Max", rms(g, x), g.constant(_STILL)))
