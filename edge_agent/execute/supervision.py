"""What has to be looked after between windows: open outcomes, responses, operators at the tag, devices that came back?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from edge_agent.errors import PlantError
from edge_agent.execute.actuator import Actuator, value_of
from edge_agent.execute.book import Book
from edge_agent.execute.gate.guards import BASE_NOISE
from edge_agent.execute.gate.values import same
from edge_agent.execute.orders import Order
from edge_agent.execute.response import judge
from edge_agent.execute.station import Held, Station, Unresolved, described
from edge_agent.execute.steps import Steps
from edge_agent.messages import Mode, Outcome, OutcomeStatus

NOT_ON_RECORD = "the ledger cannot be written; `edge-agent status` says why"
_LOOK_NS = 200_000_000  # not more often than this does a suspicion read from the device
_CALM = 2  # looks in a row that must agree before an open outcome is settled


class Supervision:
    """Supervises one loop's tags. Reads; the only thing it may cause is a change of mode."""

    def __init__(self, station: Station, held: Mapping[str, Held], book: Book, actuator: Actuator, steps: Steps) -> None:
        self._station, self._held, self._book, self._actuator, self._steps = station, held, book, actuator, steps
        self._agreed: dict[str, tuple[object, int]] = {}

    async def ledger(self) -> None:
        """Put down what is owed; a ledger that fails holds the loop."""
        await self._book.settle()
        if self._station.modes.mode in (Mode.ARMED, Mode.HOLD):
            why = "" if self._book.healthy else NOT_ON_RECORD
            await self._steps.tell("ledger_bad" if why else "ledger_good", reason=why)

    async def open_outcomes(self) -> list[Outcome]:
        """Writes of unknown outcome, and processes that have yet to answer."""
        outcomes = []
        for tag, memory in self._held.items():
            if memory.unresolved is not None and (outcome := await self._resolve(tag, memory.unresolved)) is not None:
                outcomes.append(outcome)
            if memory.watch is not None and (outcome := await self._answer(tag, memory)) is not None:
                outcomes.append(outcome)
        return outcomes

    async def operators(self) -> None:
        """Somebody else at our tag, or the base moved under it."""
        for tag, memory in self._held.items():
            if memory.taken or memory.unresolved is not None or memory.value is None:
                continue
            if self._suspicious(tag, memory):
                memory.looked_ns = self._station.clock.mono_ns()
                now_reads = value_of(await self._actuator.read(tag))
                if now_reads is not None and not same(now_reads, memory.value, self._tolerance(tag)):
                    await self._steps.taken(tag, now_reads, f"reads {now_reads!r}, we left it at {memory.value!r}")
            await self._base(tag, memory)

    async def describe(self) -> None:
        """After a reconnect: what is the tag now? Not known while the device does not say."""
        for tag, memory in self._held.items():
            if memory.described is None and memory.armed_as is not None:
                try:
                    async with asyncio.timeout(self._station.owner.bounds.read_timeout_s):
                        memory.described = described(await self._station.ports[tag].describe(tag))
                except (PlantError, TimeoutError, OSError):
                    continue

    async def _resolve(self, tag: str, pending: Unresolved) -> Outcome | None:
        """Look, never send again: did it arrive, did it not, or is something else there?"""
        order, now = pending.order, self._station.clock.mono_ns()
        late = now - pending.since_ns >= int(self._station.owner.bounds.settle_s * 1e9)
        if order.kind == "call":
            return await self._close(order, pending, "unknown", None, "a call cannot be read back: look at the machine") if late else None
        reads = value_of(await self._actuator.read(tag))
        if reads is None:
            self._agreed.pop(tag, None)
            return None
        before, times = self._agreed.get(tag, (None, 0))
        times = times + 1 if before == reads else 1
        self._agreed[tag] = (reads, times)
        if times < _CALM:
            return None
        if same(reads, order.value, order.tolerance):
            return await self._close(order, pending, "confirmed", reads, f"reads {reads!r} after all")
        if not late:
            return None
        waited = f"after {self._station.owner.bounds.settle_s:g} s it reads {reads!r}"
        if same(reads, order.before, order.tolerance):
            return await self._close(order, pending, "refused", reads, f"{waited}, as before: it never took effect")
        return await self._close(order, pending, "reverted", reads, f"{waited}, neither {order.before!r} nor {order.value!r}")

    async def _close(self, order: Order, pending: Unresolved, status: OutcomeStatus, after: object, why: str) -> Outcome:
        memory = self._held[order.tag]
        memory.unresolved, memory.refused = None, None
        self._agreed.pop(order.tag, None)
        reads = after if isinstance(after, float | int | bool | str) else None
        outcome = order.outcome(status, why, intent=pending.intent, after=reads)
        await self._actuator.record(outcome, "resolution")
        if status == "confirmed":
            await self._steps.confirmed(order, pending.intent, reads)
        elif status == "reverted":
            await self._steps.taken(order.tag, reads, why)
        elif status == "unknown":
            memory.called = order.value
            await self._steps.tell("failed", reason=f"{order.tag}: {why}")
        else:
            await self._steps.failed(order.tag, why)
        if not any(other.unresolved for other in self._held.values()):
            await self._steps.tell("resolved", reason=f"{order.tag}: {why}")
        return outcome

    async def _answer(self, tag: str, memory: Held) -> Outcome | None:
        watch = memory.watch
        if watch is None:
            return None
        found = judge(watch, self._station.present(watch.wanted.tag), self._station.clock.mono_ns())
        if found is None:
            return None
        answered, why = found
        memory.watch = replace(watch, answered=True)
        said = watch.order.outcome("confirmed" if answered else "no_response", why, intent=watch.intent, after=memory.value)
        outcome = replace(said, responded=answered)
        await self._actuator.record(outcome, "response")
        if not answered:
            await self._steps.tell("failed", reason=f"{tag}: the process did not answer: {why}")
        return outcome

    async def _base(self, tag: str, memory: Held) -> None:
        name = self._station.writes[tag].base
        now_reads = value_of(self._station.present(name)) if name else None
        if name and now_reads is not None and memory.base is not None and not same(now_reads, memory.base, BASE_NOISE):
            await self._steps.tell("override", reason=f"{name}: was {memory.base!r} at arming, an operator set {now_reads!r}")

    def _suspicious(self, tag: str, memory: Held) -> bool:
        """The subscription shows another value that is newer than our last write; or it is time to look anyway."""
        now = self._station.clock.mono_ns()
        if now - memory.looked_ns >= int(self._station.owner.bounds.audit_s * 1e9):
            return True
        if now - memory.looked_ns < _LOOK_NS:
            return False
        reading = self._station.present(tag)
        shown = value_of(reading)
        if reading is None or shown is None or same(shown, memory.value, self._tolerance(tag)):
            return False
        return memory.written_ns is None or reading.age_s * 1e9 < now - memory.written_ns

    def _tolerance(self, tag: str) -> float:
        return self._station.fence(tag, "trim").tolerance
