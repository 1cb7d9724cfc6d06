"""FEEDBACK of one loop: what of a turn goes into the ledger, and in which order?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.clock import Clock
from edge_agent.config.model import Loop
from edge_agent.contracts import Journal
from edge_agent.errors import LedgerError
from edge_agent.feedback.keep import Keeper, Kept
from edge_agent.feedback.labels import Episodes, Label
from edge_agent.feedback.pack import describe, describe_diagnosis, pack
from edge_agent.messages import Decision, Diagnosis, Outcome, Window

_WAIT_S = 2.0
_MOST_LATE = 256


class Feedback:
    """Records decisions when they change, windows worth keeping, and what the outcome says about an alarm.

    Intents and outcomes are written by the actuator, before and after it acts; here they are only read. Trouble with the
    ledger does not stop the loop (the gate does that): what could not be written is counted and declared as a gap.
    """

    def __init__(self, loop: str, config: Loop, journal: Journal, clock: Clock) -> None:
        self._loop, self._config, self._journal, self._clock = loop, config.feedback, journal, clock
        self._keeper = Keeper(loop, config.feedback.keep)
        self._episodes = Episodes(config.feedback.keep.alarm_score)
        self._late: list[Outcome] = []
        self._said: object = None
        self._lost = 0
        self._lost_since_ns = 0
        self._written: Counter[str] = Counter()

    def late(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes that came between two windows; they count with the next one."""
        self._late = [*self._late, *outcomes][-_MOST_LATE:]

    async def record(self, window: Window, diagnosis: Diagnosis, decision: Decision, outcomes: tuple[Outcome, ...]) -> None:
        """Write what this turn leaves behind; returns after the commit."""
        outcomes, self._late = (*self._late, *outcomes), []
        kept = self._keeper.consider(window, diagnosis, decision, outcomes)
        changed = self._changed(diagnosis, decision)
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._declare_loss()
                seqs = await self._write(kept)
                if changed:
                    seqs = [*seqs, await self._append("decision", self._decision(diagnosis, decision, seqs))]
                await self._label(diagnosis, outcomes, seqs)
        except (LedgerError, TimeoutError):
            self._lost += 1
            self._lost_since_ns = self._lost_since_ns or window.end_ns

    def reset(self) -> None:
        """After a change of model or configuration: the next decision is news, and no alarm is under way."""
        self._said = None
        self._episodes.reset()

    def status(self) -> dict[str, Any]:
        """What was written and why, and what was not."""
        keeper = self._keeper
        return {"written": dict(self._written), "kept": dict(keeper.kept), "over_budget": keeper.over_budget, "lost_turns": self._lost}

    def _changed(self, diagnosis: Diagnosis, decision: Decision) -> bool:
        wants = tuple((p.kind, p.tag, p.value) for p in decision.proposals)
        said = (decision.state, wants, decision.unknown, diagnosis.status)
        changed, self._said = said != self._said, said
        return changed

    async def _write(self, kept: Sequence[Kept]) -> list[int]:
        """Windows in one group commit, then their diagnoses, each naming its window's record."""
        if not kept:
            return []
        windows = await asyncio.gather(*map(self._window, kept))
        told = [{**describe_diagnosis(k.diagnosis), "window_record": seq} for k, seq in zip(kept, windows, strict=True)]
        return [*windows, *await asyncio.gather(*(self._append("diagnosis", payload) for payload in told))]

    async def _window(self, kept: Kept) -> int:
        return await self._append("window", {**describe(kept.window), "why": list(kept.why)}, (pack(kept.window),))

    async def _label(self, diagnosis: Diagnosis, outcomes: Sequence[Outcome], seqs: Sequence[int]) -> None:
        label: Label | None = self._episodes.step(diagnosis, outcomes, seqs)
        if label and self._config.label_outcomes:
            await self._append("label", label.payload())

    async def _declare_loss(self) -> None:
        if self._lost:
            gap = {"event": "feedback lost", "turns": self._lost, "start_ns": self._lost_since_ns, "end_ns": self._clock.wall_ns()}
            await self._append("gap", gap)
            self._lost = self._lost_since_ns = 0

    def _decision(self, diagnosis: Diagnosis, decision: Decision, seqs: Sequence[int]) -> dict[str, Any]:
        return {
            "decision": decision.seq,
            "window": decision.window,
            "end_ns": decision.end_ns,
            "state": decision.state,
            "previous": decision.previous,
            "proposals": [p._asdict() for p in decision.proposals],
            "reason": decision.reason,
            "unknown": decision.unknown,
            "diagnosis": describe_diagnosis(diagnosis),
            "records": list(seqs),
        }

    async def _append(self, kind: str, payload: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> int:
        seq = await self._journal.append(kind, payload, loop=self._loop, blobs=blobs)
        self._written[kind] += 1
        return seq
