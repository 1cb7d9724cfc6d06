"""What is worth a technician's or a trainer's time? Pure: time is the window's, chance comes from its number.

Windows overlap. So a reason that lasts (an alarm, a context, novelty) keeps windows end to end, not each of them; what has
been kept once is not kept again. A window that led to a write is always kept; chance, near-threshold, drift and what was only
proposed may use half of the day's budget.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.config.model import Keep
from edge_agent.messages import Decision, Diagnosis, Outcome, Window

_DAY_NS = 86_400_000_000_000
_MOST_CONTEXT = 256  # windows held back for context, end to end
_MOST_BYTES = 32 << 20  # of them: pictures are large

_MINOR = frozenset({"random", "near threshold", "drifting", "proposal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A window that goes into the ledger, and why."""

    window: Window
    diagnosis: Diagnosis
    why: tuple[str, ...]


class Keeper:
    """The keep rules of one loop, with the little they must remember."""

    def __init__(self, loop: str, keep: Keep) -> None:
        self._loop, self._keep = loop, keep
        self._context: deque[tuple[Window, Diagnosis]] = deque(maxlen=_MOST_CONTEXT)
        self._kept_until_ns = self._after_until_ns = self._alarm_since_ns = 0
        self._alarm = False
        self._day = self._today = 0
        self.kept: Counter[str] = Counter()
        self.over_budget = 0

    def consider(self, window: Window, diagnosis: Diagnosis, decision: Decision, outcomes: Sequence[Outcome]) -> tuple[Kept, ...]:
        """What to keep now: perhaps this window, perhaps older ones before it."""
        acted = any(outcome.intent is not None for outcome in outcomes)
        onset = self._follow_alarm(window, diagnosis)
        why = self._reasons(window, diagnosis, decision, acted)
        kept = self._before(window) if onset or (acted and why) else ()
        if why and self._affordable(window, why, acted):
            kept = (*kept, Kept(window=window, diagnosis=diagnosis, why=why))
        self._remember(window, diagnosis, kept)
        return kept

    # ------------------------------------------------------------ reasons

    def _reasons(self, window: Window, diagnosis: Diagnosis, decision: Decision, acted: bool) -> tuple[str, ...]:
        """Every reason to keep this window. A lasting one counts again where the last kept window ends."""
        lasting = self._lasting(window, diagnosis, decision) if window.start_ns >= self._kept_until_ns else []
        return (*(["action"] if acted else []), *lasting, *self._new(window, diagnosis))

    def _lasting(self, window: Window, diagnosis: Diagnosis, decision: Decision) -> list[str]:
        score, keep = diagnosis.score, self._keep
        near = keep.near_threshold is not None and score is not None and abs(score - keep.alarm_score) <= keep.near_threshold
        found = {
            "alarm": window.end_ns <= self._after_until_ns and self._alarm,
            "after alarm": window.end_ns <= self._after_until_ns and not self._alarm,
            "proposal": any(p.kind != "trim" or p.value != 0 for p in decision.proposals),  # a trim of 0 is neutral: nothing is wanted
            "near threshold": near,
            "novel": keep.novel and diagnosis.status == "novel",
            "drifting": keep.drifting and bool(diagnosis.drifting),
        }
        return [name for name, true in found.items() if true]

    def _new(self, window: Window, diagnosis: Diagnosis) -> list[str]:
        found = ["alarm begins"] if self._alarm and self._alarm_since_ns == window.end_ns else []
        return [*found, "random"] if _chance(self._loop, window.seq) < self._keep.random else found

    # ------------------------------------------------------------ alarms and their context

    def _follow_alarm(self, window: Window, diagnosis: Diagnosis) -> bool:
        """Keep up with the alarm; whether it begins here. Its beginning and its end each open a time of context."""
        context = self._keep.alarms
        if context is None or diagnosis.status != "ok" or diagnosis.score is None:
            return False
        alarm = diagnosis.score >= self._keep.alarm_score
        if alarm != self._alarm:
            self._after_until_ns = window.end_ns + int(context.after * 1e9)
        begins = alarm and not self._alarm
        self._alarm_since_ns = window.end_ns if begins else self._alarm_since_ns
        self._alarm = alarm
        return begins

    def _before(self, window: Window) -> tuple[Kept, ...]:
        """The context held back: what ends before this window and was not kept yet."""
        since = window.end_ns - int((self._keep.alarms.before if self._keep.alarms else 0.0) * 1e9)
        held = [(w, d) for w, d in self._context if w.end_ns > since and w.start_ns >= self._kept_until_ns and w.seq != window.seq]
        self._context.clear()
        return tuple(Kept(window=w, diagnosis=d, why=("before",)) for w, d in held if self._affordable(w, ("before",), False))

    def _remember(self, window: Window, diagnosis: Diagnosis, kept: Sequence[Kept]) -> None:
        for one in kept:
            self.kept.update(one.why)
            self._kept_until_ns = max(self._kept_until_ns, one.window.end_ns)
        last = self._context[-1][0].end_ns if self._context else self._kept_until_ns
        if self._keep.alarms and not kept and window.start_ns >= last:
            self._context.append((window, diagnosis))
            held = sum(w.values.nbytes for w, _ in self._context) if window.values.nbytes > _MOST_BYTES // _MOST_CONTEXT else 0
            while held > _MOST_BYTES:
                held -= self._context.popleft()[0].values.nbytes
            while self._context and self._context[0][0].end_ns <= window.end_ns - int(self._keep.alarms.before * 1e9):
                self._context.popleft()  # too old for any alarm to come; windows are what takes memory

    # ------------------------------------------------------------ the day's budget

    def _affordable(self, window: Window, why: Sequence[str], acted: bool) -> bool:
        day = window.end_ns // _DAY_NS
        if day != self._day:
            self._day, self._today = day, 0
        budget = self._keep.per_day // 2 if _MINOR.issuperset(why) else self._keep.per_day
        if not acted and self._today >= budget:
            self.over_budget += 1
            return False
        self._today += 1
        return True


def _chance(loop: str, seq: int) -> float:
    """A number in 0..1 that the same window always draws."""
    return int.from_bytes(hashlib.blake2b(f"{loop}:{seq}".encode(), digest_size=8).digest(), "big") / 2**64
