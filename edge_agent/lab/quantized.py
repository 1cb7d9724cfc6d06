"""From files to an INT8 bundle: what is read, what is refused, what is written, and the table of FP32 beside INT8."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_agent.diagnose import build
from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose.bundle import Bundle
from edge_agent.errors import EdgeAgentError
from edge_agent.lab import bare, ledger, windows
from edge_agent.lab.data import DataRefused
from edge_agent.lab.page import number
from edge_agent.lab.quantize import Candidate, Result, Say, quantize
from edge_agent.lab.report import columns
from edge_agent.lab.windows import Windows


def run(
    source: Path,
    *,
    calibration: Path,
    evaluation: Path,
    out: Path,
    say: Say,
    card: Path | None = None,
    budget: float | None = None,
    loop: str | None = None,
    roles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The report, JSON-able; `out` is written only if INT8 may replace FP32. DataRefused, ModelRefused."""
    _need_onnx()
    found = bundles.read(source, dev=True) if source.is_dir() else bare.read(source, card)
    fp32 = _float_graph(found)
    given = _read(calibration, found, loop, roles)
    judged = _read(evaluation, found, loop, roles)
    windows.refuse_calibration(given, found.card)
    windows.refuse_evaluation(judged, given)
    allowed = found.card.metrics.loss if budget is None else budget
    result = quantize(found, fp32, calibration=given, evaluation=judged, budget=allowed, say=say)
    if result.taken:
        _write(found, source, fp32, result, given, out)
    return _report(found, result, given, judged, out)


def text(report: Mapping[str, Any]) -> str:
    """For a terminal."""
    figures = list(report["fp32"]["figures"])
    rows = [["", *figures, "loss", "kB", "p50 us", "p99 us", "worst window", "in float"]]
    rows += [_line(c, figures) for c in (report["fp32"], report["int8"])]
    tried = [_line(c, figures) for c in report["tried"]]
    said = [f"written to {report['out']}"] if report["ok"] else [f"REFUSED: {r}" for r in report["refusals"]]
    return "\n".join([f"{report['model']}: {report['windows']}", *columns(rows), "", "tried:", *columns([rows[0], *tried]), "", *said])


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401 - the quantizer imports it much later, and says less
    except ImportError as e:
        raise EdgeAgentError("quantizing needs onnx; install it with: pip install 'edge-agent[models]'") from e


def _float_graph(found: Bundle) -> bytes:
    graph = found.fp32 or found.model
    if b"DequantizeLinear" in graph or b"QLinear" in graph:
        raise DataRefused(f"{found.path}: has no FP32 graph (model.fp32.onnx); INT8 cannot be made from INT8: export the FP32 model again")
    return graph


def _read(path: Path, found: Bundle, loop: str | None, roles: Mapping[str, str] | None) -> Windows:
    if path.suffix == ".npz":
        return windows.read(path, found.card)
    if path.exists():
        return ledger.read(path, found.card, loop=loop, roles=roles)
    raise DataRefused(f"{path}: is not there; give an .npz of windows or an agent's ledger folder")


def _write(found: Bundle, source: Path, fp32: bytes, result: Result, given: Windows, out: Path) -> None:
    """A whole bundle where there was one; from a bare file only the two graphs."""
    if not source.is_dir():
        out.mkdir(parents=True, exist_ok=True)
        (out / "model.fp32.onnx").write_bytes(fp32)
        (out / "model.onnx").write_bytes(result.best.graph)
        return
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch) / name for name in ("model.onnx", "model.fp32.onnx")}
        paths["model.onnx"].write_bytes(result.best.graph)
        paths["model.fp32.onnx"].write_bytes(fp32)
        card = found.card.model_dump(mode="json", exclude_defaults=True) | {"format": 1}
        build.write(out, card=card, model=paths["model.onnx"], fp32=paths["model.fp32.onnx"], golden_inputs=found.golden_inputs)


def _report(found: Bundle, result: Result, given: Windows, judged: Windows, out: Path) -> dict[str, Any]:
    truth = "labelled" if judged.labels is not None else "unlabelled: the loss is the share of answers that change"
    return {
        "ok": result.taken,
        "model": found.id,
        "windows": f"calibrated on {len(given)} windows of {given.where}, judged on {len(judged)} of {judged.where} ({truth})",
        "budget": result.budget,
        "fp32": _reply(result.fp32),
        "int8": _reply(result.best),
        "tried": [_reply(replace(c, times={})) for c in result.tried],
        "refusals": list(result.refusals),
        "out": str(out),
    }


def _reply(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "figures": dict(candidate.figures),
        "loss": candidate.loss,
        "bytes": len(candidate.graph),
        "times": dict(candidate.times),
        "worst": dict(candidate.worst),
        "left_in_float": list(candidate.left_in_float),
    }


def _line(candidate: Mapping[str, Any], figures: list[str]) -> list[str]:
    times, worst = candidate["times"], candidate["worst"]
    moved = f"{worst['difference']:.3g} at {worst['window']}" + (f" ({worst['label']})" if worst["label"] else "")
    return [
        candidate["name"],
        *(number(candidate["figures"].get(f)) for f in figures),
        f"{candidate['loss']:.4f}",
        f"{candidate['bytes'] / 1000:.0f}",
        number(times.get("p50_us")),
        number(times.get("p99_us")),
        moved,
        ", ".join(candidate["left_in_float"]) or "-",
    ]
