"""How is one step taken: look, ask the gate, order, write, and take in what became of it?"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from edge_agent.errors import LedgerError
from edge_agent.execute.actuator import Actuator, Assets, value_of
from edge_agent.execute.aims import Aim, step_of
from edge_agent.execute.book import Book
from edge_agent.execute.evidence import FOREIGN_MOST, FOREIGN_NS, Case, gather
from edge_agent.execute.gate.facts import Facts, Phase, Request, Scalar, Value
from edge_agent.execute.gate.permit import Finding, Permit, Verdict, evaluate
from edge_agent.execute.gate.values import number, same
from edge_agent.execute.orders import Order, outcome_payload, plain, table
from edge_agent.execute.response import begin
from edge_agent.execute.station import Held, ModeEvent, Station, Unresolved
from edge_agent.messages import Mode, Outcome

_LONGEST_BACKOFF_NS = 300_000_000_000
_MOST_FAILURES = 3  # in a row; then the loop lets go and a person has to look
_LOCK_S = 30.0
_ACTIVE = frozenset({Mode.ARMED, Mode.HOLD, Mode.SHED})


class Tell(Protocol):
    async def __call__(self, event: ModeEvent, *, reason: str = "") -> object: ...


class Steps:
    """Takes single steps for one loop."""

    def __init__(
        self, station: Station, held: Mapping[str, Held], book: Book, actuator: Actuator, assets: Assets, tell: Tell
    ) -> None:  # fmt: skip
        self._station, self._held, self._book, self._assets, self.tell = station, held, book, assets, tell
        self.actuator = actuator
        self._blocked_since_ns: int | None = None

    def blocked_for_s(self) -> float:
        """For how long the way back to neutral has been refused."""
        since = self._blocked_since_ns
        return 0.0 if since is None else (self._station.clock.mono_ns() - since) / 1e9 + 1e-9

    def free(self) -> None:
        """The way back is open again, or begins."""
        self._blocked_since_ns = None

    async def take(self, aim: Aim, case: Case | None) -> Outcome | None:
        """One step toward the aim; None where there is nothing to do."""
        station, memory = self._station, self._held[aim.tag]
        now = station.clock.mono_ns()
        writing = station.modes.mode is Mode.ARMED or (aim.purpose == "return" and station.modes.mode in _ACTIVE)
        if writing and (memory.unresolved is not None or now < memory.not_before_ns):
            return None
        known = memory.value if station.modes.mode in _ACTIVE else value_of(station.present(aim.tag))
        value = step_of(station, memory, aim, known, now)
        if value is None:
            memory.pending = None
            return None
        if not writing:
            return (await self._refuse(aim, case, value, known, self._ask(aim, case, value, known, None)))[0]
        try:
            async with asyncio.timeout(_LOCK_S):
                await (lock := self._assets.lock(station.ports[aim.tag])).acquire()
        except TimeoutError:
            return self._order(aim, case, value, known, ()).outcome("refused", f"the device was busy for {_LOCK_S} s", intent=None)
        try:
            return await self._attempt(aim, case, value)
        finally:
            lock.release()

    async def taken(self, tag: str, reads: Scalar | None, why: str) -> None:
        """Somebody else changed the tag: it is the operator's now. Again and again: another writer.

        A trim found at neutral counts for nobody: that is the PLC taking it back, as its contract says.
        """
        station, memory = self._station, self._held[tag]
        now = station.clock.mono_ns()
        recent = tuple(at for at in memory.foreign_ns if now - at < FOREIGN_NS)
        taken_back = memory.moved and same(reads, station.neutral(tag), station.fence(tag, "trim").tolerance)
        memory.foreign_ns = recent if taken_back else (*recent, now)[-FOREIGN_MOST:]
        await self._book.note("operator", {"tag": tag, "expected": memory.value, "reads": reads, "why": why})
        memory.taken, memory.value = True, reads
        if len(memory.foreign_ns) >= FOREIGN_MOST:
            await self.tell("rival", reason=f"another writer on {tag}: {why}")
        else:
            await self.tell("override", reason=f"{tag}: {why}")

    async def failed(self, tag: str, why: str) -> None:
        """The plant did not do as it was told: wait longer each time, let go in the end."""
        memory, now = self._held[tag], self._station.clock.mono_ns()
        memory.failures += 1
        self._hindered()
        first_ns = int(self._station.owner.bounds.backoff_s * 1e9)
        memory.not_before_ns = now + min(first_ns * 2 ** (memory.failures - 1), _LONGEST_BACKOFF_NS)
        if memory.failures >= _MOST_FAILURES:
            await self.tell("failed", reason=f"{tag}: {memory.failures} failures in a row, last: {why}")

    async def confirmed(self, order: Order, intent: int, after: Scalar | None) -> None:
        """The plant shows it."""
        station, memory = self._station, self._held[order.tag]
        memory.failures, memory.not_before_ns = 0, 0
        self.free()
        if order.kind == "call":
            memory.called = order.value
            return
        memory.value = order.value if not isinstance(order.value, tuple) else after
        if order.kind == "trim":
            memory.moved = order.value != station.neutral(order.tag)
        wanted = station.writes[order.tag].response
        if order.purpose == "return" or wanted is None:
            memory.watch = None
        elif _outward(order, station.neutral(order.tag)):
            reading, now = station.present(wanted.tag), station.clock.mono_ns()
            memory.watch = begin(memory.watch, wanted=wanted, order=order, intent=intent, reading=reading, now_ns=now)

    def _hindered(self) -> None:
        if self._station.modes.mode is Mode.SHED and self._blocked_since_ns is None:
            self._blocked_since_ns = self._station.clock.mono_ns()

    async def _attempt(self, aim: Aim, case: Case | None, value: Value) -> Outcome | None:
        station, memory = self._station, self._held[aim.tag]
        current = None if aim.kind == "call" else value_of(await self.actuator.read(aim.tag))
        verdict = self._ask(aim, case, value, current, None)
        if not verdict.ok:
            outcome, guards = await self._refuse(aim, case, value, current, verdict)
            await self._react(aim, current, verdict, guards)
            return outcome
        order = self._order(aim, case, value, current, verdict.findings)

        def authorise(intent: int) -> tuple[Permit | None, Sequence[Finding]]:
            final = self._ask(aim, case, value, current, intent)
            if final.permit is not None:
                memory.budgets.book(station.clock.mono_ns(), current, value)
                station.modes.use(aim.tag)
            return final.permit, final.findings

        def started(intent: int) -> None:
            now = station.clock.mono_ns()
            memory.unresolved = Unresolved(order=order, intent=intent, since_ns=now)
            memory.written_ns = now

        try:
            outcome, sent = await self.actuator.perform(order, authorise, started)
        except LedgerError as e:
            await self.tell("ledger_bad", reason=f"ledger: {e}")
            return order.outcome("refused", f"self: the intent is not on disk: {e}", intent=None)
        await self._digest(order, outcome, sent)
        return outcome

    async def _digest(self, order: Order, outcome: Outcome, sent: bool) -> None:
        memory = self._held[order.tag]
        intent = outcome.intent if outcome.intent is not None else -1
        if outcome.status == "unknown":
            self._hindered()
            await self.tell("unknown", reason=f"{order.tag}: {outcome.why}")
            return
        memory.unresolved, memory.pending, memory.refused = None, None, None
        memory.looked_ns = self._station.clock.mono_ns()
        if outcome.status == "confirmed":
            await self.confirmed(order, intent, outcome.after)
        elif outcome.status == "reverted":
            await self.taken(order.tag, outcome.after, outcome.why)
        elif sent:
            await self.failed(order.tag, outcome.why)

    async def _refuse(
        self, aim: Aim, case: Case | None, value: Value, current: Scalar | None, verdict: Verdict
    ) -> tuple[Outcome, frozenset[str]]:
        """The gate said no: a value, on record once for each new reason."""
        station, memory = self._station, self._held[aim.tag]
        order = self._order(aim, case, value, current, ())
        no = sorted(verdict.refusals, key=lambda finding: finding.guard != "mode")
        outcome = order.outcome("refused", "; ".join(f"{f.guard}: {f.why}" for f in no), intent=None, after=current)
        guards = frozenset(finding.guard for finding in no)
        memory.pending = value if guards == {"mode"} and station.owner.tier == 2 and station.modes.mode is Mode.ARMED else None
        key = (aim.purpose, aim.kind, station.modes.mode, guards)
        if key != memory.refused:
            memory.refused = key
            await self._book.note("outcome", outcome_payload(outcome, "gate", verdict.findings))
        return outcome, guards

    async def _react(self, aim: Aim, current: Scalar | None, verdict: Verdict, guards: frozenset[str]) -> None:
        memory = self._held[aim.tag]
        self._hindered()
        if verdict.lockout:
            broken = any(finding.why.startswith("the guard failed") for finding in verdict.refusals)
            await self.tell("broken" if broken else "rival", reason="; ".join(f"{f.guard}: {f.why}" for f in verdict.refusals))
        elif "self" in guards and not self._book.healthy:
            await self.tell("ledger_bad", reason="ledger: it cannot be written")
        elif "operator" in guards and current is not None and not memory.taken:
            tolerance = self._station.fence(aim.tag, aim.kind).tolerance
            if memory.value is not None and aim.kind != "call" and not same(current, memory.value, tolerance):
                await self.taken(aim.tag, current, f"reads {current!r}, we left it at {memory.value!r}")

    def _ask(self, aim: Aim, case: Case | None, value: Value, current: Scalar | None, intent: int | None) -> Verdict:
        station = self._station
        now = station.clock.mono_ns()
        request = self._request(aim, value, now, "propose" if intent is None else "permit")
        facts = self._facts(aim, case, current, now, intent)
        return evaluate(request, facts, station.fence(aim.tag, aim.kind))

    def _facts(self, aim: Aim, case: Case | None, current: Scalar | None, now: int, intent: int | None) -> Facts:
        station, memory = self._station, self._held[aim.tag]
        facts = gather(
            station, memory, tag=aim.tag, case=case, current=current, now_ns=now, intent=intent, healthy=self._book.healthy
        )  # fmt: skip
        if station.modes.mode in _ACTIVE or facts.operator is None:
            return facts
        # a loop that only watches has left nothing behind: nobody can have changed it
        return replace(facts, operator=replace(facts.operator, expected=current, base_armed=facts.operator.base))

    def _request(self, aim: Aim, value: Value, now: int, phase: Phase) -> Request:
        return Request(
            loop=self._station.owner.loop,
            tag=aim.tag,
            kind=aim.kind,
            value=value,
            target=aim.target,
            purpose=aim.purpose,
            phase=phase,
            nonce=secrets.token_hex(8),
            now_ns=now,
        )

    def _order(self, aim: Aim, case: Case | None, value: Value, current: Scalar | None, findings: Sequence[Finding]) -> Order:
        station = self._station
        fence = station.fence(aim.tag, aim.kind)
        return Order(
            loop=fence.loop,
            tag=aim.tag,
            kind=aim.kind,
            purpose=aim.purpose,
            value=value,
            target=aim.target,
            before=current,
            tolerance=fence.tolerance,
            verify_s=station.writes[aim.tag].verify.within,
            decision=case.decision.seq if case else -1,
            window=case.window.seq if case else -1,
            asked_ns=station.clock.mono_ns(),
            reason=aim.reason,
            evidence=self._evidence(case, findings),
        )

    def _evidence(self, case: Case | None, findings: Sequence[Finding]) -> dict[str, Any]:
        modes, model = self._station.modes, self._station.owner.model
        said = case.diagnosis if case else None
        return {
            "mode": modes.mode.value,
            "armed_until_ns": modes.until_ns,
            "model": model.name,
            "score": said.score if said else None,
            "state": case.decision.state if case else None,
            "wishes": {tag: plain(target) for tag, (_, target) in case.wishes.items()} if case else {},
            "findings": table(findings),
        }


def _outward(order: Order, neutral: float) -> bool:
    """Away from neutral, and for switches and texts any change."""
    value, before = number(order.value), number(order.before)
    return value is None or before is None or abs(value - neutral) > abs(before - neutral)
