"""Which tags made the model say so? From the graph's own contributions, or by covering one channel after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Shares = tuple[tuple[str, float], ...]


def shares(parts: NDArray[np.floating], tags: Sequence[str]) -> Shares:
    """Parts [C] as shares of the blame: largest first, sum 1, negative parts are no blame. Empty if there is none."""
    if not parts.size:
        return ()
    blame = np.maximum(np.asarray(parts, dtype=np.float64), 0.0)
    total = float(blame.sum())
    if not total > 0:
        return ()
    order = np.argsort(-blame, kind="stable")
    return tuple((tags[i], float(blame[i] / total)) for i in order)


def covered(values: NDArray[np.float32], neutral: NDArray[np.floating]) -> NDArray[np.float32]:
    """[C, W] to [C, C, W]: in window c, channel c is covered by its neutral value. One batched run then tells what each did."""
    channels = values.shape[0]
    windows = np.repeat(values[None], channels, axis=0)
    windows[np.arange(channels), np.arange(channels)] = np.asarray(neutral, dtype=np.float32)[:, None]
    return windows
