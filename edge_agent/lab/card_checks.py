"""Does the card say what an operator has to know, and do its own golden windows agree with it?"""

from __future__ import annotations

import numpy as np

from edge_agent.diagnose import trust
from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab.answers import Asker
from edge_agent.lab.findings import Finding, limit, note, passed, refusal
from edge_agent.lab.windows import Windows

_LOSS = 0.01  # what INT8 may lose on a share
_STRANGE = 0.5  # share of golden windows: more of them novel, and the envelope is not this model's
_OUT_OF_RANGE = 0.05


def complete(bundle: Bundle) -> list[Finding]:
    """What is missing from the card, and what that costs."""
    card, found = bundle.card, []
    if card.envelope is None or card.thresholds.novelty is None or card.thresholds.novelty >= 1.0:
        found.append(limit("card", 0, "no envelope with a novelty threshold below 1: nothing tells when the model is out of its depth"))
    if card.thresholds.alarm is None and card.head["type"] == "anomaly":
        found.append(limit("card", 0, "no alarm threshold: nobody can tell an alarm from a high score"))
    if not (card.metrics.fp32 or card.metrics.int8):
        found.append(limit("card", 0, "no figures: nobody says how good it is; evaluate it and write them into the card"))
    if not card.provenance.runs:
        found.append(note("card", "does not list its training runs (provenance.runs): a benchmark cannot tell seen from unseen"))
    found += _metrics(bundle)
    return found or [passed("card", "says what it is for, how good it is, and where its knowledge ends")]


def fits_golden(bundle: Bundle, windows: Windows) -> list[Finding]:
    """Golden windows in the sensors' ranges and inside the envelope; else units or channels are not those of the card."""
    found = [f for f in (_ranges(bundle, windows), _order(bundle, windows), _envelope(bundle, windows)) if f]
    return found or [passed("scale and order", f"{len(windows)} golden windows lie in the sensors' ranges and in the envelope")]


def twin(bundle: Bundle, windows: Windows) -> list[Finding]:
    """The FP32 twin says the same, or it is the twin of another model."""
    if bundle.fp32 is None:
        return []
    ours, theirs = Asker(bundle, bundle.model).ask(windows), Asker(bundle, bundle.fp32).ask(windows)
    other = float((ours.label != theirs.label).mean())
    moved = float(np.nanmax(np.abs(ours.score - theirs.score)))
    if other > _STRANGE / 2:
        return [
            refusal(
                "twin", f"model.onnx and model.fp32.onnx disagree on {other:.0%} of the golden windows: not the same model", moved=moved
            )
        ]
    return [
        passed("twin", f"FP32 and model.onnx name the same state in {1 - other:.0%} of the golden windows; score moves {moved:.3f} at most")
    ]


def _metrics(bundle: Bundle) -> list[Finding]:
    figures = bundle.card.metrics
    shares = [n for n in figures.int8 if n in figures.fp32 and ("f1" in n or "accuracy" in n or "auroc" in n or "detection" in n)]
    lost = {n: figures.fp32[n] - figures.int8[n] for n in shares if figures.fp32[n] - figures.int8[n] > _LOSS}
    return [note("card", f"INT8 loses {v:.3f} of {n} by its own card; {_LOSS:g} is the aim") for n, v in lost.items()]


def _ranges(bundle: Bundle, windows: Windows) -> Finding | None:
    for i, role in enumerate(bundle.card.roles):
        if role.range is None:
            continue
        outside = float(((windows.values[:, i] < role.range[0]) | (windows.values[:, i] > role.range[1])).mean())
        if outside > _OUT_OF_RANGE:
            seen = windows.values[:, i]
            return refusal(
                "scale and order",
                f"{role.role}: {outside:.0%} of its golden values ({seen.min():.4g} .. {seen.max():.4g}) lie outside what it shows "
                f"({role.range[0]:g} .. {role.range[1]:g} {role.unit or ''}): another unit, or another channel",
            )
    return None


def _order(bundle: Bundle, windows: Windows) -> Finding | None:
    """If two channels exchanged fit the envelope far better than as they are, they are swapped."""
    card, channels = bundle.card, len(bundle.card.roles)
    if card.envelope is None or channels < 2:
        return None
    familiar = trust.Familiarity(card.envelope)
    now = _mean(familiar, windows)
    if now < _STRANGE:
        return None
    for i in range(channels):
        for j in range(i + 1, channels):
            order = list(range(channels))
            order[i], order[j] = j, i
            if _mean(familiar, _reordered(windows, order)) < now / 2:
                return refusal(
                    "scale and order", f"{card.roles[i].role} and {card.roles[j].role} are swapped: exchanged, the golden windows are known"
                )
    return None


def _envelope(bundle: Bundle, windows: Windows) -> Finding | None:
    novel = float(Asker(bundle, bundle.model).novel(windows).mean())
    if novel > _STRANGE:
        return refusal(
            "scale and order", f"{novel:.0%} of its own golden windows are novel to it: the envelope has another scale than the windows"
        )
    return None


def _mean(familiar: trust.Familiarity, windows: Windows) -> float:
    bases = [None] * len(windows) if windows.baselines is None else list(windows.baselines)
    return float(np.mean([familiar.novelty(w, b) >= 1.0 for w, b in zip(windows.values, bases, strict=True)]))


def _reordered(windows: Windows, order: list[int]) -> Windows:
    return Windows(where=windows.where, values=np.ascontiguousarray(windows.values[:, order]), baselines=windows.baselines)
