"""What does the loop's own outcome say about the alarm it answered? Pure; sober: where it cannot tell, it says nothing.

An episode opens when the score reaches the alarm score or a write is tried, and closes when the score has stayed below
half of it for five windows, or after an hour. What the loop then says, first rule that holds:

    a write was reverted                                    overridden             somebody or something disagreed
    the last write had no response of the process           no response            the actuator, or another fault
    the process answered a write, and the score fell back   fault, action helped
    a write was confirmed, and the score fell back after    fault, fell back after the action    no proof that it helped
    a write was confirmed, and the score did not fall       fault, action did not help
    no write was made, the score fell back                  fell back by itself    no proof of a fault
    otherwise (no write and no end; outcome unknown)        nothing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_agent.messages import Diagnosis, Outcome

Verdict = Literal[
    "overridden",
    "no response",
    "fault, action helped",
    "fault, fell back after the action",
    "fault, action did not help",
    "fell back by itself",
]

AUTHOR = "loop"
_CALM_WINDOWS = 5
_CALM_SHARE = 0.5
_LONGEST_NS = 3_600_000_000_000
_MOST_RECORDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What somebody says was true of older records."""

    about: tuple[int, ...]  # seqs in the ledger
    value: str
    author: str
    note: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """As it stands in the record."""
        filled = {"note": self.note, "evidence": dict(self.evidence)}
        return {"about": list(self.about), "value": self.value, "author": self.author, **{k: v for k, v in filled.items() if v}}


@dataclass(slots=True)
class _Episode:
    start_ns: int
    peak: float = 0.0
    calm: int = 0
    records: list[int] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # the last word on each intent

    def about(self) -> tuple[int, ...]:
        return tuple(sorted({*self.records, *self.outcomes}))


class Episodes:
    """The alarm episodes of one loop, one at a time."""

    def __init__(self, alarm_score: float) -> None:
        self._alarm_score = alarm_score
        self._open: _Episode | None = None

    def step(self, diagnosis: Diagnosis, outcomes: Sequence[Outcome], records: Sequence[int] = ()) -> Label | None:
        """Take in one window's diagnosis, the outcomes that came and the seqs of what was kept; a label when an episode ends."""
        tried = {o.intent: o for o in outcomes if o.intent is not None}
        score = diagnosis.score if diagnosis.status == "ok" else None
        abnormal = score is not None and score >= self._alarm_score
        if self._open is None and not (tried or abnormal):
            return None
        episode = self._open = self._open or _Episode(diagnosis.end_ns)
        episode.outcomes.update(tried)
        episode.records += list(records)[: _MOST_RECORDS - len(episode.records)]
        return self._follow(episode, score, diagnosis.end_ns)

    def reset(self) -> None:
        """Forget the open episode: after a change of model or configuration its end would mean nothing."""
        self._open = None

    def _follow(self, episode: _Episode, score: float | None, now_ns: int) -> Label | None:
        if score is not None:
            episode.peak = max(episode.peak, score)
            episode.calm = episode.calm + 1 if score < self._alarm_score * _CALM_SHARE else 0
        calm = episode.calm >= _CALM_WINDOWS
        if not calm and now_ns - episode.start_ns < _LONGEST_NS:
            return None
        self._open = None
        verdict = judge(tuple(episode.outcomes.values()), alarmed=episode.peak >= self._alarm_score, calm=calm)
        evidence = {"peak": episode.peak, "seconds": (now_ns - episode.start_ns) / 1e9, "writes": len(episode.outcomes)}
        return Label(about=episode.about(), value=verdict, author=AUTHOR, evidence=evidence) if verdict and episode.about() else None


def judge(outcomes: Sequence[Outcome], *, alarmed: bool, calm: bool) -> Verdict | None:
    """The first rule of the table that holds. Writes without an alarm (a trim that returns) are no evidence of a fault."""
    said = [outcome.status for outcome in outcomes]
    if "reverted" in said:
        return "overridden"
    if said and said[-1] == "no_response":
        return "no response"
    if not alarmed:
        return None
    if "confirmed" in said and calm:
        return "fault, action helped" if any(o.responded for o in outcomes) else "fault, fell back after the action"
    if "confirmed" in said:
        return "fault, action did not help"
    return "fell back by itself" if calm and not said else None
