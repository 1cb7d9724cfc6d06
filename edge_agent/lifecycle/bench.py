"""Is INT8 faster than FP32 on this very box? Both run in turns, so that a busy moment hits both alike."""

from __future__ import annotations

import gc
from time import perf_counter_ns
from typing import Any

import numpy as np

from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.session import open_session

_WARM_UP = 20


def compare(bundle: Bundle, runs: int = 500) -> dict[str, Any]:
    """Microseconds of one run of one window (p50, p99) for each model of the bundle, and which is faster. JSON-able."""
    sessions = {"model": open_session(bundle.model, bundle.id)}
    if bundle.fp32:
        sessions["fp32"] = open_session(bundle.fp32, bundle.id)
    feeds = {name: array[:1] for name, array in bundle.golden_inputs.items()}
    spent: dict[str, list[int]] = {name: [] for name in sessions}
    gc.collect()
    for _ in range(_WARM_UP + runs):
        for name, session in sessions.items():
            begin = perf_counter_ns()
            session.run(None, feeds)
            spent[name].append(perf_counter_ns() - begin)
    result: dict[str, Any] = {name: _quantiles(times[_WARM_UP:]) for name, times in spent.items()}
    if bundle.fp32:
        result["fp32_over_model"] = round(result["fp32"]["p50_us"] / result["model"]["p50_us"], 2)
        result["faster"] = "model" if result["fp32_over_model"] >= 1 else "fp32"
    return result


def _quantiles(times: list[int]) -> dict[str, float]:
    p50, p99 = np.quantile(np.array(times), (0.5, 0.99)) / 1000
    return {"p50_us": round(float(p50), 1), "p99_us": round(float(p99), 1)}
