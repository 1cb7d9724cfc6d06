"""Which names may a policy's expressions use, and what do they stand for in this situation?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edge_agent.contracts import Situation
from edge_agent.decide.words import NUMBER, TAG, TEXT, TRUTH, Type
from edge_agent.messages import DiagnosisStatus

_STATUSES: tuple[DiagnosisStatus, ...] = ("ok", "unknown", "novel", "late", "failed")

# name -> (type, what it is): also what stands in docs/config.md
NAMES: Mapping[str, tuple[Type, str]] = {
    "score": (NUMBER, "what the model says, smoothed and calibrated: 0 normal to 1 abnormal, or a regressor's value"),
    "raw": (NUMBER, "the same before smoothing and calibration"),
    "confidence": (NUMBER, "how sure the model is, 0 to 1"),
    "novelty": (NUMBER, "how far the input lies outside what the model was trained on, 0 to 1"),
    "lower": (NUMBER, "the lower end of a regressor's interval"),
    "upper": (NUMBER, "its upper end"),
    "drifting": (TRUTH, "whether score, novelty or inputs have moved away from the training data for long"),
    "label": (TEXT, "the class that the model names"),
    "status": (
        Type(kind="text", choices=_STATUSES),
        "'ok', or why there is no evidence: score, raw, confidence, label are then unknown",
    ),
    "state": (TEXT, "the state that the policy is in"),
    "elapsed": (NUMBER, "seconds in this state"),
}


class Vocabulary(Mapping[str, Type]):
    """Our own names and all tags, looked up one by one: a plant has ten thousand tags, a loop speaks of three."""

    def __init__(self, own: Mapping[str, Type], tags: Collection[str]) -> None:
        self._own, self._tags = own, tags

    def __getitem__(self, name: str) -> Type:
        if name not in self._tags:
            return self._own[name]
        if name not in NAMES:
            return TAG
        return Type(kind="any", tag=True, clash=f"{name!r} is a tag here and also {NAMES[name][1]}; give the tag another name")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._own, *self._tags)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def vocabulary(tags: Collection[str], *, states: Collection[str] = (), labels: Collection[str] = ()) -> Vocabulary:
    """The types of all names. A tag that is called like one of ours may exist but not be named: nobody could tell which is meant."""
    own = {name: type_ for name, (type_, _) in NAMES.items()}
    own["state"] = Type(kind="text", choices=tuple(states))
    own["label"] = Type(kind="text", choices=tuple(labels))
    return Vocabulary(own, tags)


def values(situation: Situation, *, state: str, elapsed_s: float) -> dict[str, Any]:
    """What the names stand for now. A diagnosis that is not "ok" is no evidence: all that it says is unknown."""
    diagnosis, known = situation.diagnosis, situation.diagnosis.status == "ok"
    return {
        **situation.window.live,
        "score": diagnosis.score if known else None,
        "raw": diagnosis.raw if known else None,
        "confidence": diagnosis.confidence if known else None,
        "novelty": diagnosis.novelty,
        "lower": diagnosis.lower if known else None,
        "upper": diagnosis.upper if known else None,
        "drifting": bool(diagnosis.drifting),
        "label": diagnosis.label if known else None,
        "status": diagnosis.status,
        "state": state,
        "elapsed": elapsed_s,
        "contributions": dict(diagnosis.contributions) if known else {},
        "probabilities": dict(diagnosis.probabilities) if known else {},
    }
