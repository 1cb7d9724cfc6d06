"""How does a loop get its first model from nothing but clean windows of its own? A PCA monitor, T2 and Q, as a whole bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.config import fit as fit_check
from edge_agent.config.load import Configuration
from edge_agent.config.model import Tag
from edge_agent.diagnose import build
from edge_agent.diagnose import card as cards
from edge_agent.diagnose.session import open_session
from edge_agent.lab import ledger, windows
from edge_agent.lab.data import DataRefused
from edge_agent.lab.parts.channels import contributions, features, logged
from edge_agent.lab.parts.crest import crest
from edge_agent.lab.parts.kurtosis import kurtosis
from edge_agent.lab.parts.pca import fit, t2_and_q
from edge_agent.lab.parts.rms import rms
from edge_agent.lab.parts.sketch import Sketch
from edge_agent.lab.windows import NORMAL, Windows

_FIT, _GAP = 0.6, 0.05  # of the windows in their order: to fit on, and to leave out because they overlap with what comes after
_LEAST = 200  # held-out windows for limits at the 99 % quantile
_REACH = 4.0  # a fault nobody has seen yet must raise the alarm before it counts as another machine
_WAVE = 64  # rows from which on the shape of a vibration can be told
_GOLDEN = 16
_RAW, _SCORE = [0.0, 1.0, 2.0], [0.0, 0.5, 1.0]  # raw 1 is the limit that one clean window in a hundred passes
_ALARM, _ALARM_RAW = 0.8, 1.6


def make(configuration: Configuration, loop: str, source: Path, out: Path, *, name: str, version: str) -> dict[str, Any]:
    """Write the bundle, unsigned; what was made of how many windows. DataRefused, ModelRefused."""
    if loop not in configuration.file.loops:
        raise DataRefused(f"{configuration.path}: there is no loop {loop!r}; there are: {', '.join(configuration.file.loops)}")
    card = _card(configuration, loop, name, version)
    found = _clean(_read(source, cards.check(card), loop))
    fitted, held = _sides(found)
    graph, raw = _graph(fitted, held)
    alarms = float((raw >= _ALARM_RAW).mean())
    card |= {
        "envelope": build.envelope(found.values, reach=_REACH, margin=1.0, log=True),
        "drift": {"score": build.histogram(raw)},
        "metrics": {
            "protocol": f"limits from the last {len(held)} of {len(found)} clean windows in their order, none of them fitted on",
            "fp32": {"false_alarm_rate": alarms, "windows": float(len(held))},
        },
    }
    _write(out, card, graph, held)
    return {
        "ok": True,
        "model": f"{name}@{version}",
        "out": str(out),
        "fitted": len(fitted),
        "held_out": len(held),
        "false_alarm_rate": alarms,
    }


def _card(configuration: Configuration, loop: str, name: str, version: str) -> dict[str, Any]:
    perceive = configuration.file.loops[loop].perceive
    rate = fit_check.waveform_rate(configuration.tags[perceive.tags[0]]) if len(perceive.tags) == 1 else None
    every = 1 / rate if rate else perceive.every
    return {
        "format": 1,
        "name": name,
        "version": version,
        "head": {"type": "anomaly", "method": "pca"},
        "window": {"rows": perceive.window} | ({"every": f"{every:.12g} s"} if every else {}),
        "roles": [_role(tag, configuration.tags[tag]) for tag in perceive.tags],
        "graph": {"outputs": {"t2": "t2", "q": "q", "contributions": "contributions"}},
        "calibration": {"raw": _RAW, "score": _SCORE},
        "smoothing": {"median": 5},
        "thresholds": {"alarm": _ALARM, "novelty": 0.999},
        "intended": {"use": f"what is unusual for loop {loop} of {configuration.file.agent.name}", "not_for": "other machines", "tier": 0},
        "provenance": {"data": f"clean windows of loop {loop}", "data_licence": "the site's own", "code": "edge-agent models monitor"},
    }


def _role(name: str, tag: Tag) -> dict[str, Any]:
    said = {"role": name, "unit": tag.unit, "range": None if tag.range is None else list(tag.range)}
    return {key: value for key, value in said.items() if value is not None}


def _read(source: Path, card: cards.Card, loop: str) -> Windows:
    return windows.read(source, card) if source.suffix == ".npz" else ledger.read(source, card, loop=loop, clean=True)


def _clean(found: Windows) -> Windows:
    """Without what somebody has called a fault."""
    keep = np.arange(len(found)) if found.labels is None else np.flatnonzero(found.labels == NORMAL)
    return Windows(where=found.where, values=found.values[keep])


def _sides(found: Windows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """In their order: earlier to fit on, later to set the limits by. Neighbours overlap, so some between are left out."""
    count = len(found)
    fitted, held = found.values[: int(_FIT * count)], found.values[int((_FIT + _GAP) * count) :]
    if len(held) < _LEAST:
        need = int(np.ceil(_LEAST / (1 - _FIT - _GAP)))
        raise DataRefused(f"{found.where}: {count} clean windows; give {need} or more, over all that is normal for this machine")
    return fitted, held


def _graph(fitted: NDArray[np.float32], held: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """The graph, and the raw scores of the held-out windows."""
    channels, rows = fitted.shape[1:]
    g = Sketch()
    single = [g.mean("window"), logged(g, rms(g, "window"), 1e-9)]
    if rows >= _WAVE:
        single += [kurtosis(g, "window"), crest(g, "window")]
    made, each = features(g, single, channels=channels)
    front = open_session(g.finish({"window": [channels, rows]}, {"features": (made, [channels * each])}), "features")
    tables = [front.run(None, {"window": side})[0].astype(np.float64) for side in (fitted, held)]
    t2, q, parts = t2_and_q(g, made, fit(*tables))
    blame = contributions(g, parts, channels=channels, each=each)
    graph = g.finish({"window": [channels, rows]}, {"t2": (t2, []), "q": (q, []), "contributions": (blame, [channels])})
    found = open_session(graph, "monitor").run(["t2", "q"], {"window": held})
    return graph, np.maximum(*found)


def _write(out: Path, card: dict[str, Any], graph: bytes, held: NDArray[np.float32]) -> None:
    """Golden windows are clean ones and, for each channel in turn, one with that channel moved."""
    some = held[np.linspace(0, len(held) - 1, _GOLDEN).astype(int)]
    moved = np.array(some[np.arange(some.shape[1]) % _GOLDEN])
    moved[np.arange(len(moved)), np.arange(len(moved))] += 3 * held.std(axis=(0, 2))[:, None]
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        model.write_bytes(graph)
        build.write(out, card=card, model=model, fp32=None, golden_inputs={"window": np.concatenate([some, moved])})
