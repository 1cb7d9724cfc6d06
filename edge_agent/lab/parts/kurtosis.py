"""How spiky is a vibration? Kurtosis of each channel: 3 for noise, 1.5 for a sine, far above 3 for the shocks of a pitted bearing."""

from __future__ import annotations

from edge_agent.lab.parts.rms import centred
from edge_agent.lab.parts.sketch import Sketch

_STILL = 1e-12  # of a variance: a channel that stands still has kurtosis 0, not NaN


def kurtosis(g: Sketch, x: str) -> str:
    """[N, C, W] to [N, C]: fourth moment over the squared second (Pearson's, not the excess; the sample's own, not corrected)."""
    square = g.node("Mul", c := centred(g, x), c)
    variance = g.mean(square)
    fourth = g.mean(g.node("Mul", square, square))
    return g.node("Div", fourth, g.node("Max", g.node("Mul", variance, variance), g.constant(_STILL)))
