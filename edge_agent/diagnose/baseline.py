"""What is normal on this very machine? Centre and scale of each channel, learnt from the first good rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.card import Baseline
from edge_agent.messages import UNFIT, Window

MAD_TO_STD = 1.4826  # 1 / normal quantile of 0.75: makes the median absolute deviation comparable with a standard deviation


def learn(rows: NDArray[np.floating], spec: Baseline) -> NDArray[np.float32]:
    """[R, C] good rows to float32 [2, C]: centre, then scale (never below the floor)."""
    data = np.asarray(rows, dtype=np.float64)
    centre = np.median(data, axis=0) if spec.centre == "median" else data.mean(axis=0)
    scale = np.median(np.abs(data - centre), axis=0) * MAD_TO_STD if spec.scale == "mad" else data.std(axis=0)
    return np.stack([centre, np.maximum(scale, spec.floor)]).astype(np.float32)


class Learner:
    """Collects good rows from overlapping windows, each row once, until there are enough."""

    def __init__(self, spec: Baseline) -> None:
        self._spec = spec
        self._rows: list[NDArray[np.float32]] = []
        self._newest_ns = -(1 << 62)
        self.baseline: NDArray[np.float32] | None = None

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        return f"{len(self._rows)}/{self._spec.rows}"

    def take(self, window: Window, values: NDArray[np.float32]) -> None:
        """Add the rows of this window that were not seen yet. `values` is [C, W] in the roles' units."""
        times = np.linspace(window.start_ns, window.end_ns, values.shape[1])
        half_ns = (window.end_ns - window.start_ns) / max(values.shape[1] - 1, 1) / 2
        good = (window.quality & int(UNFIT) == 0).all(axis=0) & np.isfinite(values).all(axis=0) & (times > self._newest_ns + half_ns)
        self._rows.extend(values[:, good].T.copy())
        self._newest_ns = max(self._newest_ns, window.end_ns)
        if len(self._rows) >= self._spec.rows:
            self.baseline = learn(np.array(self._rows[: self._spec.rows]), self._spec)
            self._rows.clear()
