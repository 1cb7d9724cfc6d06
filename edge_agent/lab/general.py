"""What must every bundle reach, whatever it is for: INT8 as good as FP32, small, quick, and a novelty gate that works?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.diagnose import foreign
from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab.answers import Asker, golden_windows
from edge_agent.lab.catalog import Target

TARGETS = (
    Target(metric="int8_loss", at="<=", value=0.01),
    Target(metric="refused_clean", at="<=", value=0.02),
    Target(metric="refused_other_scale", at=">=", value=0.90),
    Target(metric="refused_broken_sensor", at=">=", value=0.90),
    Target(metric="bundle_mb", at="<=", value=5.0),
)
QUICK = Target(metric="cpu_p99_us", at="<=", value=5_000.0)
QUICK_PICTURE = Target(metric="cpu_p99_us", at="<=", value=25_000.0)


def targets(*, picture: bool) -> tuple[Target, ...]:
    """The targets of any bundle."""
    return (*TARGETS, QUICK_PICTURE if picture else QUICK)


def figures(bundle: Bundle, report: Mapping[str, Any]) -> dict[str, float]:
    """What the bundle reaches of them; what was not measured is left out."""
    graphs, shipped, metric = report["graphs"], report["shipped"], report["scenario"]["metric"]
    found: dict[str, float] = {"bundle_mb": (len(bundle.model) + len(bundle.fp32 or b"")) / 1e6}
    if {"fp32", "int8"} <= graphs.keys():
        sign = 1 if report["scenario"]["higher_is_better"] else -1
        found["int8_loss"] = sign * (graphs["fp32"]["figures"].get(metric, 0.0) - graphs["int8"]["figures"].get(metric, 0.0))
    if "refused_clean" in graphs[shipped]["figures"]:
        found["refused_clean"] = graphs[shipped]["figures"]["refused_clean"]
    if cost := report.get("cost"):
        found["cpu_p99_us"] = cost[shipped]["cpu_p99_us"]
    return found | _novelty(bundle)


def _novelty(bundle: Bundle) -> dict[str, float]:
    """Of the golden windows at another scale, and with each sensor broken in turn."""
    card, windows = bundle.card, golden_windows(bundle)
    if card.envelope is None or card.thresholds.novelty is None:
        return {}
    own = Asker(bundle, bundle.model).own_novelty(windows.where) if card.graph.outputs.novelty else None
    shares = foreign.figures(card.envelope, card.thresholds.novelty, windows.values, baselines=windows.baselines, own=own)
    return {name: shares[name] for name in ("refused_other_scale", "refused_broken_sensor")}
