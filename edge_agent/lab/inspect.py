"""May this bundle serve a machine, and up to which tier? The whole safety inspection of one bundle, on this processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose import golden, signature
from edge_agent.diagnose.bundle import Bundle
from edge_agent.errors import ModelRefused
from edge_agent.lab import card_checks, metrics, probes, timing, weights
from edge_agent.lab.answers import Asker, golden_windows
from edge_agent.lab.findings import Finding, limit, note, passed, refusal, verdict
from edge_agent.lab.windows import Windows
from edge_agent.lab.windows import read as read_windows

_SLOW_US, _TAIL = 25_000.0, 20.0  # p99 of one window; p99 / p50
_MEMORY, _BYTES = 512 << 20, 5 << 20
_RUNS = 300


def inspect(path: Path, *, keys: signature.Keys, windows: Path | None = None, runs: int = _RUNS) -> dict[str, Any]:
    """The report, JSON-able; never raises for what a bundle can be. DataRefused for a wrong file of windows."""
    try:
        found = bundles.read(path, keys=keys, dev=True)
    except ModelRefused as e:
        return _report({"model": path.name}, [refusal("admission", str(e))], 0)
    report = bundles.describe(found)
    findings = [
        passed("admission", f"{len(found.model)} bytes: operators, sizes, shapes and names are what is admitted and what the card says")
    ]
    findings += _behaviour(found, windows, runs)
    if found.signed_by is None:
        findings.append(note("signature", "nobody trusted has signed it: the agent takes it for tier 0 only, until somebody does"))
    return _report(report, findings, found.card.intended.tier, signed=found.signed_by is not None)


def _behaviour(found: Bundle, file: Path | None, runs: int) -> list[Finding]:
    """Everything that needs the graph to run; stops at the first refusal, for what follows would mean nothing."""
    given = golden_windows(found) if file is None else read_windows(file, found.card)
    own = golden_windows(found)
    try:
        asker = Asker(found, found.model)
    except ModelRefused as e:
        return [refusal("runtime", str(e))]
    steps: list[Callable[[], list[Finding]]] = [
        lambda: [weights.check(graph, name) for name, graph in _graphs(found).items()],
        lambda: card_checks.complete(found),
        lambda: _golden(found, asker),
        lambda: card_checks.fits_golden(found, own),
        lambda: card_checks.twin(found, own),
        lambda: probes.answers(found, asker, own),
        lambda: probes.broken_sensors(found, asker, given),
        lambda: probes.outside(found, asker, given),
        lambda: probes.disturbed(found, asker, given),
        lambda: probes.confidence(found, asker, given, metrics.reliability),
        lambda: _cost(found, own, runs),
    ]
    findings: list[Finding] = []
    for step in steps:
        findings += step()
        if any(f.level == "refuse" for f in findings):
            break
    return findings


def _graphs(found: Bundle) -> dict[str, bytes]:
    return {"model.onnx": found.model} | ({} if found.fp32 is None else {"model.fp32.onnx": found.fp32})


def _golden(found: Bundle, asker: Asker) -> list[Finding]:
    windows = golden_windows(found)
    try:
        golden.compare(asker.outputs(windows), found.golden_outputs, found.card)
    except ModelRefused as e:
        return [refusal("golden vectors", str(e))]
    if len(windows) < 4:
        return [limit("golden vectors", 0, f"only {len(windows)}: too few to prove anything; write 8 to 32, normal and faulty")]
    return [passed("golden vectors", f"{len(windows)} windows give on this processor what the card promises")]


def _cost(found: Bundle, windows: Windows, runs: int) -> list[Finding]:
    one = replace(windows, values=windows.values[:1], baselines=None if windows.baselines is None else windows.baselines[:1])
    feeds = one.feeds(found.card)
    times = timing.race({"model": timing.caller(found.model, feeds)}, runs)["model"]
    memory = timing.memory(found.model, feeds)
    said = f"p50 {times['p50_us']:.0f} us, p99 {times['p99_us']:.0f} us, of which the processor works {times['cpu_p99_us']:.0f} us"
    slow = times["cpu_p99_us"] > _SLOW_US
    findings = [limit("time", 0, f"{said}: too slow for a loop of this agent", **times) if slow else passed("time", said, **times)]
    if times["p99_us"] > _TAIL * times["p50_us"] and not slow:
        findings.append(
            note("time", f"its slowest hundredth takes {times['p99_us'] / times['p50_us']:.0f} times the median; is the box busy?")
        )
    grown = "not measured" if memory is None else f"{memory / 1e6:.1f} MB"
    findings.append(limit("memory", 0, f"{grown} for one model") if memory and memory > _MEMORY else passed("memory", grown, bytes=memory))
    size = sum(len(g) for g in _graphs(found).values())
    if size > _BYTES:
        findings.append(note("size", f"{size / 1e6:.1f} MB of graphs; 5 MB is the aim for a bundle"))
    return findings


def _report(described: dict[str, Any], findings: list[Finding], intended: int, *, signed: bool = False) -> dict[str, Any]:
    fit, tier, why = verdict(findings, intended)
    said = {"fit": fit, "tier": tier, "today": tier if signed else min(tier, 0), "why": why}
    return described | {"ok": fit, "verdict": said, "findings": [f.reply() for f in findings]}
