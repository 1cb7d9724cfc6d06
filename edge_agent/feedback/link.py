"""FEEDBACK of one loop: what of a turn goes into the ledger, and in which order?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from edge_agent.clock import Clock
from edge_agent.config.model import Loop
from edge_agent.contracts import Journal
from edge_agent.errors import LedgerError
from edge_agent.feedback.backlog import TURNS, Backlog
from edge_agent.feedback.keep import Keeper, Kept
from edge_agent.feedback.labels import Episodes, Label
from edge_agent.feedback.pack import describe, describe_diagnosis, pack, pictured
from edge_agent.feedback.picture import encode
from edge_agent.messages import Decision, Diagnosis, Outcome, Window

_WAIT_S = 2.0
_MOST_LATE = 256


class _Turn(NamedTuple):
    """What a turn leaves behind."""

    diagnosis: Diagnosis
    decision: Decision | None  # None: it is the one that was said before
    outcomes: tuple[Outcome, ...]
    kept: tuple[Kept, ...]
    part: int | None


class Feedback:
    """Records decisions when they change, windows worth keeping, and what the outcome says about an alarm.

    Intents and outcomes are written by the actuator, before and after it acts; here they are only read. Trouble with the
    ledger does not stop the loop (the gate does that): what could not be written is counted and declared as a gap.
    """

    def __init__(
        self, loop: str, config: Loop, journal: Journal, clock: Clock, backlog: Backlog | None = None, *, lossy: bool = False
    ) -> None:  # fmt: skip
        """With a backlog the loop goes on while the disk is at work; without one `record` returns after the commit.
        `lossy`: pictures are kept as JPEG, as their model's card says."""
        self._lossy = lossy
        self._loop, self._config, self._journal, self._clock, self._backlog = loop, config.feedback, journal, clock, backlog
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
        """See to it that what this turn leaves behind is written."""
        if self._late:
            outcomes, self._late = (*self._late, *outcomes), []
        kept = self._keeper.consider(window, diagnosis, decision, outcomes)
        part = window.part.number if window.part else None
        turn = _Turn(diagnosis, decision if self._changed(part, diagnosis, decision) else None, outcomes, kept, part)
        if self._backlog is None:
            await self._leave(turn)
        elif turn.kept or turn.decision or self._lost or not self._backlog.idle(self._loop):
            await self._backlog.put(self._loop, partial(self._leave, turn))
        elif (label := self._episodes.step(diagnosis, outcomes, ())) is not None:
            await self._backlog.put(self._loop, partial(self._tell, label))

    async def _leave(self, turn: _Turn) -> None:
        """Write what this turn leaves behind; returns after the commit."""
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._declare_loss()
                seqs = await self._write(turn.kept)
                if turn.decision is not None:
                    seqs = [*seqs, await self._append("decision", self._decision(turn.part, turn.diagnosis, turn.decision, seqs))]
                label = self._episodes.step(turn.diagnosis, turn.outcomes, seqs)
                if label is not None:
                    await self._label(label)
        except (LedgerError, TimeoutError):
            self._miss(turn.diagnosis.end_ns)

    async def _tell(self, label: Label) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._label(label)
        except (LedgerError, TimeoutError):
            self._miss(self._clock.wall_ns())

    def _miss(self, end_ns: int) -> None:
        self._lost += 1
        self._lost_since_ns = self._lost_since_ns or end_ns

    def reset(self) -> None:
        """After a change of model or configuration: the next decision is news, and no alarm is under way."""
        self._said = None
        self._episodes.reset()

    def status(self) -> dict[str, Any]:
        """What was written and why, and what was not."""
        keeper = self._keeper
        waiting = {"waiting": self._backlog.waiting(self._loop), "max_waiting": TURNS} if self._backlog else {}
        written = {"written": dict(self._written), "kept": dict(keeper.kept), "over_budget": keeper.over_budget, "lost_turns": self._lost}
        return written | waiting

    def _changed(self, part: int | None, diagnosis: Diagnosis, decision: Decision) -> bool:
        """Every part's verdict is news, however it resembles the last one."""
        wants = tuple((p.kind, p.tag, p.value) for p in decision.proposals)
        said = (decision.state, wants, decision.unknown, diagnosis.status, part)
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
        said = {**describe(kept.window), "why": list(kept.why)}
        if not pictured(kept.window):
            return await self._append("window", said, (pack(kept.window),))
        if not kept.window.values.size:
            return await self._append("window", said)
        blobs = await asyncio.to_thread(encode, kept.window.values, kept.diagnosis, lossy=self._lossy)
        return await self._append("window", said | {"blobs": list(blobs)}, tuple(blobs.values()))

    async def _label(self, label: Label) -> None:
        if self._config.label_outcomes:
            await self._append("label", label.payload())

    async def _declare_loss(self) -> None:
        if self._lost:
            gap = {"event": "feedback lost", "turns": self._lost, "start_ns": self._lost_since_ns, "end_ns": self._clock.wall_ns()}
            await self._append("gap", gap)
            self._lost = self._lost_since_ns = 0

    def _decision(self, part: int | None, diagnosis: Diagnosis, decision: Decision, seqs: Sequence[int]) -> dict[str, Any]:
        return {
            "decision": decision.seq,
            "window": decision.window,
            "end_ns": decision.end_ns,
            **({"part": part} if part is not None else {}),
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
