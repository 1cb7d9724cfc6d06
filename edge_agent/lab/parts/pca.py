"""Do the relations between features still hold? Principal components: T2 (usual directions, unusually far) and Q (the unexplained rest)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab.parts.sketch import Sketch

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """A fitted model of F features: K directions with their variances, and the limits of both statistics."""

    centre: Floats = field(repr=False)  # [F]
    scale: Floats = field(repr=False)  # [F]
    directions: Floats = field(repr=False)  # [F, K], orthonormal
    variances: Floats  # [K]
    t2_limit: float
    q_limit: float

    def statistics(self, features: Floats) -> tuple[Floats, Floats]:
        """T2 and Q [N] of features [N, F], in their own units."""
        z = (features - self.centre) / self.scale
        scores = z @ self.directions
        rest = z - scores @ self.directions.T
        return (scores**2 / self.variances).sum(axis=1), (rest**2).sum(axis=1)


def fit(features: Floats, held_out: Floats, *, explained: float = 0.95, quantile: float = 0.99) -> Components:
    """From clean features [N, F]. The limits are quantiles of other clean windows: of their own they would be too tight. ValueError."""
    if len(features) < 2 * features.shape[1] or len(held_out) < 1 / (1 - quantile):
        need = (2 * features.shape[1], int(np.ceil(1 / (1 - quantile))))
        raise ValueError(f"{len(features)} and {len(held_out)} windows; {need[0]} to fit on and {need[1]} for the limits are the least")
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(centre), 1.0), scale, np.maximum(np.abs(centre) * 1e-3, 1e-6))
    _, singular, directions = np.linalg.svd((features - centre) / scale, full_matrices=False)
    variances = singular**2 / len(features)
    share = np.cumsum(variances) / variances.sum()
    count = min(int(np.searchsorted(share, explained)) + 1, features.shape[1] - 1)
    found = Components(centre=centre, scale=scale, directions=directions[:count].T, variances=variances[:count], t2_limit=1.0, q_limit=1.0)
    t2, q = found.statistics(held_out)
    return Components(
        centre=centre,
        scale=scale,
        directions=found.directions,
        variances=found.variances,
        t2_limit=float(np.quantile(t2, quantile)),
        q_limit=float(np.quantile(q, quantile)),
    )


def t2_and_q(g: Sketch, features: str, fitted: Components) -> tuple[str, str, str]:
    """[N, F] to T2 [N], Q [N], each in units of its limit, and each feature's part in the two [N, F], not negative."""
    z = g.node("Div", g.node("Sub", features, g.constant(fitted.centre)), g.constant(fitted.scale))
    scores = g.node("MatMul", z, g.constant(fitted.directions))
    rest = g.node("Sub", z, g.node("MatMul", scores, g.constant(fitted.directions.T)))
    weighted = g.node("Div", scores, g.constant(fitted.variances * fitted.t2_limit))
    t2 = g.sum(g.node("Mul", scores, weighted))
    own_q = g.node("Div", g.node("Mul", rest, rest), g.constant(fitted.q_limit))
    own_t2 = g.node("Relu", g.node("Mul", z, g.node("MatMul", weighted, g.constant(fitted.directions.T))))
    return t2, g.sum(own_q), g.node("Add", own_t2, own_q)
