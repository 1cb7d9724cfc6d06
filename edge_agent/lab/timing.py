"""What does one window cost here: time, memory, energy? Rivals run in turns, so that a busy moment hits all alike."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.session import open_session

_WARM_UP = 20
_RAPL = Path("/sys/class/powercap")
_TIMEOUT_S = 120.0

_FOOTPRINT = """
import json, sys
import numpy as np
from edge_agent.diagnose.session import open_session, warm_import
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
warm_import()
shapes = json.loads(sys.argv[1])
model = sys.stdin.buffer.read()
before = resident()
session = open_session(model, "model")
feeds = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
for _ in range(20):
    session.run(None, feeds)
print(resident() - before)
"""


def race(rivals: Mapping[str, Callable[[], object]], runs: int) -> dict[str, dict[str, float]]:
    """Microseconds of one call of each: p50, p99, max by the clock; p99 of this thread's processor time, which a busy box leaves alone."""
    spent: dict[str, list[int]] = {name: [] for name in rivals}
    worked: dict[str, list[int]] = {name: [] for name in rivals}
    gc.collect()
    for _ in range(_WARM_UP + runs):
        for name, call in rivals.items():
            begin, busy = perf_counter_ns(), thread_time_ns()
            call()
            worked[name].append(thread_time_ns() - busy)
            spent[name].append(perf_counter_ns() - begin)
    cpu = {name: round(float(np.quantile(times[_WARM_UP:], 0.99)) / 1000, 1) for name, times in worked.items()}
    return {name: {**quantiles(times[_WARM_UP:]), "cpu_p99_us": cpu[name]} for name, times in spent.items()}


def quantiles(times_ns: list[int]) -> dict[str, float]:
    """p50, p99 and max in microseconds."""
    found = np.quantile(np.array(times_ns), (0.5, 0.99, 1.0)) / 1000
    return {name: round(float(v), 1) for name, v in zip(("p50_us", "p99_us", "max_us"), found, strict=True)}


def caller(
    graph: bytes, feeds: Mapping[str, NDArray[Any]], *, threads: int = 1, provider: str = "CPUExecutionProvider"
) -> Callable[[], object]:
    """One run of these feeds. ModelRefused if the runtime will not have the graph."""
    session = open_session(graph, "model", threads=threads, provider=provider)
    given = dict(feeds)
    return lambda: session.run(None, given)


def memory(graph: bytes, feeds: Mapping[str, NDArray[Any]]) -> int | None:
    """Bytes by which a fresh process grows with the session and twenty runs; None if that cannot be measured here."""
    shapes = json.dumps({name: list(array.shape) for name, array in feeds.items()})
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own text
            [sys.executable, "-c", _FOOTPRINT, shapes], input=graph, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def energy(call: Callable[[], object], runs: int) -> float | None:
    """Joules of the whole processor for one call; None where the processor does not tell (no RAPL, or not readable)."""
    before = _joules()
    for _ in range(runs if before is not None else 0):
        call()
    after = _joules()
    return None if before is None or after is None or after < before else (after - before) / runs


def _joules() -> float | None:
    counters = sorted(_RAPL.glob("intel-rapl:[0-9]/energy_uj"))
    try:
        return sum(int(c.read_text()) for c in counters) / 1e6 if counters else None
    except (OSError, ValueError):
        return None
