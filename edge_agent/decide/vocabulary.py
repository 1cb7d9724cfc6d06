"""Which names may a policy's expressions use, and what do they stand for in this situation?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edge_agent.contracts import Situation
from edge_agent.decide.words import NUMBER, TAG, TEXT, Type
from edge_agent.messages import DiagnosisStatus

_STATUSES: tuple[DiagnosisStatus, ...] = ("ok", "unknown", "novel", "late", "failed")

# name -> (type, what it is): also what stands in docs/config.md
NAMES: Mapping[str, tuple[Type, str]] = {
    "score": (NUMBER, "what the model says, smoothed and calibrated: 0 normal to 1 abnormal, or a regressor's value"),
    "raw": (NUMBER, "the same before smoothing and calibration"),
    "confidence": (NUMBER, "how sure the model is, 0 to 1"),
    "novelty": (NUMBER, "how far the input lies outside what the model was trained on, 0 to 1"),
    "label": (TEXT, "the class that the model names"),
    "status": (
        Type(kind="text", choices=_STATUSES),
        "'ok', or why there is no evidence: score, raw, confidence, label are then unknown",
    ),
    "state": (TEXT, "the state that the policy is in"),
    "elapsed": (NUMBER, "seconds in this state"),
}


def vocabulary(tags: Collection[str], *, states: Collection[str] = (), labels: Collection[str] = ()) -> dict[str, Type]:
    """The types of all names. A tag that is called like one of ours may exist but not be named: nobody could tell which is meant."""
    names = {name: type_ for name, (type_, _) in NAMES.items()}
    names["state"] = Type(kind="text", choices=tuple(states))
    names["label"] = Type(kind="text", choices=tuple(labels))
    for tag in tags:
        clash = f"{tag!r} is a tag here and also {NAMES[tag][1]}; give the tag another name" if tag in NAMES else ""
        names[tag] = Type(kind="any", tag=True, clash=clash) if clash else TAG
    return names


def values(situation: Situation, *, state: str, elapsed_s: float) -> dict[str, Any]:
    """What the names stand for now. A diagnosis that is not "ok" is no evidence: all that it says is unknown."""
    diagnosis, known = situation.diagnosis, situation.diagnosis.status == "ok"
    return {
        **situation.window.live,
        "score": diagnosis.score if known else None,
        "raw": diagnosis.raw if known else None,
        "confidence": diagnosis.confidence if known else None,
        "novelty": diagnosis.novelty,
        "label": diagnosis.label if known else None,
        "status": diagnosis.status,
        "state": state,
        "elapsed": elapsed_s,
        "contributions": dict(diagnosis.contributions) if known else {},
        "probabilities": dict(diagnosis.probabilities) if known else {},
    }
