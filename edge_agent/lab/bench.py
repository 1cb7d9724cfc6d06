"""Which session suits this box: which graph, provider, how many threads, what batch? Measured; kept beside the bundle, never in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.session import chosen_file, warm_import
from edge_agent.lab import timing
from edge_agent.lab.evaluate import graphs
from edge_agent.lifecycle.durable import replace_file

_WORTH = 1.3  # a second thread costs a second core: it must buy at least this much
_PROVIDERS = ("CPUExecutionProvider", "OpenVINOExecutionProvider", "DnnlExecutionProvider", "XnnpackExecutionProvider")


def grid(bundle: Bundle, runs: int) -> dict[str, Any]:
    """Times of every graph, provider and number of threads at one window, of larger batches with one thread, and the choice."""
    one = {name: array[:1] for name, array in bundle.golden_inputs.items()}
    rivals = {
        f"{name} {provider.removesuffix('ExecutionProvider')} {threads}": timing.caller(graph, one, threads=threads, provider=provider)
        for name, graph in graphs(bundle).items()
        for provider in _providers()
        for threads in _threads()
    }
    times = timing.race(rivals, runs)
    rows = [{**dict(zip(("graph", "provider", "threads"), name.split(), strict=True)), **t} for name, t in times.items()]
    choice = _choose(rows)
    return {"grid": rows, "batches": _batches(bundle, graphs(bundle)[choice["graph"]], runs), "choice": choice}


def write(bundle: Path, found: Bundle, choice: dict[str, Any]) -> Path:
    """Beside the bundle: NAME.session.json, whose threads the agent takes. It names the bundle's hash: a new version is measured anew."""
    file = chosen_file(bundle)
    replace_file(file, json.dumps({"bundle": found.hash, "processor": _processor(), **choice}, indent=1).encode() + b"\n")
    return file


def _choose(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest with one thread; more threads only where they are worth their cores."""
    single = min((r for r in rows if r["threads"] == "1"), key=lambda r: (r["p50_us"], r["p99_us"]))
    best = min(rows, key=lambda r: r["p50_us"])
    chosen = best if single["p50_us"] >= _WORTH * best["p50_us"] and best["p99_us"] <= single["p99_us"] else single
    return {
        "graph": chosen["graph"],
        "provider": f"{chosen['provider']}ExecutionProvider",
        "threads": int(chosen["threads"]),
        **_quantiles(chosen),
    }


def _quantiles(row: dict[str, Any]) -> dict[str, float]:
    return {"p50_us": row["p50_us"], "p99_us": row["p99_us"]}


def _batches(bundle: Bundle, graph: bytes, runs: int) -> list[dict[str, Any]]:
    """Windows a second when several are run together."""
    rows = []
    for size in (b for b in (1, 4, 16, 64) if b <= bundle.batch):
        feeds = {name: np.repeat(array[:1], size, axis=0) for name, array in bundle.golden_inputs.items()}
        times = timing.race({"x": timing.caller(graph, feeds)}, max(10, runs // size))["x"]
        rows.append({"batch": size, "windows_per_s": round(size / times["p50_us"] * 1e6), **times})
    return rows


def _providers() -> list[str]:
    there = warm_import().get_available_providers()
    return [provider for provider in _PROVIDERS if provider in there]


def _threads() -> list[int]:
    cores = len(os.sched_getaffinity(0))
    return [n for n in (1, 2, 4) if n <= cores]


def _processor() -> str:
    """Its name, as the kernel says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
