"""Several models looked at one window: what do they say together? Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from edge_agent.messages import Ballot, Diagnosis, DiagnosisStatus

Vote = Literal["median", "mean", "highest", "lowest"]
_COUNT: Mapping[Vote, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "highest": max,
    "lowest": min,
}


def combine(said: Sequence[Diagnosis], *, vote: Vote, quorum: int, model: str, model_hash: str) -> Diagnosis:
    """One diagnosis of all. Who has no evidence has no vote; fewer than `quorum` votes are no evidence."""
    votes = tuple(Ballot(d.model, d.status, d.score, d.why) for d in said)
    fit = [d for d in said if d.status == "ok"]
    whole: dict[str, Any] = {"model": model, "model_hash": model_hash, "votes": votes, "drifting": _drifting(said)}
    if len(fit) < quorum:
        return _no_quorum(said, len(fit), quorum, whole)
    count = _COUNT[vote]
    found: dict[str, Any] = {name: _counted(count, [getattr(d, name) for d in fit]) for name in ("score", "raw", "lower", "upper")}
    probabilities = _probabilities(fit)
    return replace(
        fit[0],
        **found,
        **whole,
        confidence=_counted(statistics.fmean, [d.confidence for d in fit]),
        novelty=_counted(max, [d.novelty for d in fit]),
        probabilities=probabilities,
        label=max(probabilities, key=probabilities.__getitem__) if probabilities else _label(fit),
        contributions=_contributions(fit),
    )


def _no_quorum(said: Sequence[Diagnosis], fit: int, quorum: int, whole: Mapping[str, Any]) -> Diagnosis:
    """The status that most of those without evidence have; who they are and why."""
    silent = [d for d in said if d.status != "ok"]
    status: DiagnosisStatus = Counter(d.status for d in silent).most_common(1)[0][0] if silent else "unknown"
    reasons = "; ".join(f"{d.model}: {d.status}, {d.why}" for d in silent)
    why = f"{fit} of the {quorum} models that must have evidence have it: {reasons}"
    empty = Diagnosis(loop=said[0].loop, window=said[0].window, end_ns=said[0].end_ns, status=status, why=why)
    return replace(empty, novelty=_counted(max, [d.novelty for d in said]), **whole)


def _counted(count: Callable[[Sequence[float]], float], values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return count(known) if known else None


def _probabilities(fit: Sequence[Diagnosis]) -> dict[str, float]:
    """The mean, where all know the same labels."""
    labels = list(fit[0].probabilities)
    if any(set(d.probabilities) != set(labels) for d in fit):
        return {}
    return {label: statistics.fmean([d.probabilities[label] for d in fit]) for label in labels}


def _label(fit: Sequence[Diagnosis]) -> str | None:
    """What most of them say; of two alike, what the surer one says."""
    named = sorted((d for d in fit if d.label is not None), key=lambda d: -(d.confidence or 0.0))
    votes = Counter(d.label for d in named)
    return max(votes, key=lambda label: (votes[label], -[d.label for d in named].index(label))) if votes else None


def _contributions(fit: Sequence[Diagnosis]) -> tuple[tuple[str, float], ...]:
    """The mean share of each tag, over those that name any."""
    blaming = [dict(d.contributions) for d in fit if d.contributions]
    shares = {tag: sum(blame.get(tag, 0.0) for blame in blaming) / len(blaming) for blame in blaming for tag in blame}
    return tuple(sorted(shares.items(), key=lambda item: -item[1]))


def _drifting(said: Sequence[Diagnosis]) -> tuple[str, ...]:
    return tuple(f"{d.model}: {text}" for d in said for text in d.drifting)
