"""How strong is a vibration? The root of the mean square of each channel, its mean left out."""

from __future__ import annotations

from edge_agent.lab.parts.sketch import Sketch


def rms(g: Sketch, x: str) -> str:
    """[N, C, W] to [N, C]: standard deviation about the window's own mean, as a vibration sensor without DC reads it."""
    return g.node("Sqrt", g.mean(g.node("Mul", c := centred(g, x), c)))


def centred(g: Sketch, x: str) -> str:
    """[N, C, W] without each window's mean."""
    return g.node("Sub", x, g.mean(x, keep=True))
