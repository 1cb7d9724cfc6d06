"""How does a permitted value reach the device, and what became of it? Intent first, one write, then look.

    intent on disk -> read -> permit -> read == precondition -> write once -> exactly good? -> read back until it holds -> outcome on disk

Between the permit and the write nothing is waited for: who says stop before the write leaves is heard. A write that may or may
not have happened is "unknown"; it is looked at later (`resolve`) and never sent again from here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from edge_agent.clock import Clock
from edge_agent.contracts import Reply, Writable
from edge_agent.errors import PlantError
from edge_agent.execute.book import Book
from edge_agent.execute.gate.facts import Scalar
from edge_agent.execute.gate.permit import Finding, Permit, refusal
from edge_agent.execute.gate.values import same
from edge_agent.execute.orders import Order, outcome_payload
from edge_agent.messages import Outcome, OutcomeStatus, Quality, Reading

Authorise = Callable[[int], tuple[Permit | None, Sequence[Finding]]]
"""From the seq of the intent on disk to a permit, or none, with what every guard said."""

_FIRST_POLL_S, _SLOWEST_POLL_S = 0.05, 0.25
_HOLDS = 2  # reads in a row that must show the value: a PLC may take it and throw it back in its next scan
_LAST_WORDS_S = 2.0  # to put an outcome on record while being cancelled


class Assets:
    """One write in flight for each device: a lock for each port. Shared by all loops of an agent."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}

    def lock(self, port: Writable) -> asyncio.Lock:
        return self._locks.setdefault(id(port), asyncio.Lock())


class Actuator:
    """Carries out the orders of one loop. The only place that calls `write`."""

    def __init__(
        self, *, ports: Mapping[str, Writable], book: Book, clock: Clock, write_timeout_s: float = 2.0, read_timeout_s: float = 2.0
    ) -> None:
        self._ports, self._book, self._clock = ports, book, clock
        self._write_timeout_s, self._read_timeout_s = write_timeout_s, read_timeout_s
        self._used: deque[str] = deque(maxlen=256)  # nonces; a permit lives 2 s, so this outlasts every one

    async def read(self, tag: str) -> Reading | None:
        """What the device says now; None if it does not answer."""
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await self._ports[tag].read(tag)
        except (PlantError, TimeoutError, OSError):
            return None

    async def perform(self, order: Order, authorise: Authorise, started: Callable[[int], None]) -> tuple[Outcome, bool]:
        """Carry out one order; the outcome and whether a write left. `started` is called as the intent is on disk.

        LedgerError if the intent cannot be put on disk: then nothing was written.
        """
        intent = await self._book.commit("intent", order.payload())
        started(intent)
        sent = [False]
        findings: Sequence[Finding] = ()
        try:
            before = await self._present(order)
            permit, findings = authorise(intent)
            outcome = await self._with_permit(order, permit, before, sent) if permit else _unpermitted(order, findings, intent)
        except BaseException as error:
            status: OutcomeStatus = "unknown" if sent[0] else "refused"
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self.record(order.outcome(status, f"interrupted: {error!r}", intent=intent), "write")
            raise
        await self.record(outcome, "write", findings if not sent[0] else ())
        return outcome, sent[0]

    async def record(self, outcome: Outcome, stage: str, findings: Sequence[Finding] = ()) -> None:
        """Put an outcome on record."""
        await self._book.note("outcome", outcome_payload(outcome, stage, findings))

    async def _with_permit(self, order: Order, permit: Permit, before: Scalar | None, sent: list[bool]) -> Outcome:
        intent = permit.intent
        if permit.nonce in self._used:
            return order.outcome("refused", "the permit was used before", intent=intent, after=before)
        self._used.append(permit.nonce)
        why = refusal(
            permit,
            loop=order.loop,
            tag=order.tag,
            value=order.value,
            current=before,
            tolerance=order.tolerance,
            now_ns=self._clock.mono_ns(),
        )
        if why is not None:
            return order.outcome("refused", why, intent=intent, after=before)
        sent[0] = True
        reply = await self._send(order)
        write_ms = (reply.at_mono_ns - order.asked_ns) / 1e6
        status, after, why = await self._judge(order, reply, before)
        verify_ms = (self._clock.mono_ns() - reply.at_mono_ns) / 1e6
        return order.outcome(status, why, intent=intent, after=after, write_ms=write_ms, verify_ms=verify_ms)

    async def _send(self, order: Order) -> Reply:
        """Write or call once. Whatever is not an answer may have happened all the same."""
        port, timeout = self._ports[order.tag], self._write_timeout_s
        try:
            async with asyncio.timeout(timeout + 0.5):
                if order.kind == "call":
                    arguments = order.value if isinstance(order.value, tuple) else (order.value,)
                    return await port.call(order.tag, arguments, timeout)
                if isinstance(order.value, tuple):
                    return Reply(status="refused", code="a tuple is for calls only", at_mono_ns=self._clock.mono_ns())
                return await port.write(order.tag, order.value, timeout)
        except (PlantError, TimeoutError, OSError) as e:
            return Reply(status="unknown", code=f"no answer within {timeout} s: {e!r}", at_mono_ns=self._clock.mono_ns())

    async def _judge(self, order: Order, reply: Reply, before: Scalar | None) -> tuple[OutcomeStatus, Scalar | None, str]:
        if order.kind == "call":
            return _CALLED[reply.status], None, reply.code
        if _exactly_good(reply):
            return await self._read_back(order, before, reply.code)
        if reply.status == "unknown":
            status, after, why = await self._read_back(order, before, reply.code)
            return (status if status == "confirmed" else "unknown"), after, why
        after = await self._present(order)
        if after is not None and same(after, before, order.tolerance):
            return "refused", after, f"the device says {reply.code}"
        return "unknown", after, f"the device says {reply.code}, yet it read {before!r} and now reads {after!r}"

    async def _read_back(self, order: Order, before: Scalar | None, code: str) -> tuple[OutcomeStatus, Scalar | None, str]:
        """Look until the value holds or the time is up."""
        deadline = self._clock.mono_ns() + int(order.verify_s * 1e9)
        pause, hits, after = _FIRST_POLL_S, 0, None
        while True:
            seen = await self._present(order)
            after = seen if seen is not None else after
            if seen is not None and same(seen, order.value, order.tolerance):
                hits += 1
            elif hits and seen is not None:
                return "reverted", after, f"took {order.value!r} and went back to {after!r}"
            if hits >= _HOLDS:
                return "confirmed", after, f"{code}; reads {after!r}"
            if self._clock.mono_ns() >= deadline and (not hits or seen is None):
                return _time_is_up(order, before, after, code)
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, _SLOWEST_POLL_S)

    async def _present(self, order: Order) -> Scalar | None:
        return None if order.kind == "call" else value_of(await self.read(order.tag))


def value_of(reading: Reading | None) -> Scalar | None:
    """The value if it is evidence: of good quality, a plain scalar."""
    if reading is None or reading.quality & ~Quality.HELD:
        return None
    value = reading.value
    return value if type(value) in (float, int, bool, str) else None  # type: ignore[return-value]


_CALLED: dict[str, OutcomeStatus] = {"good": "confirmed", "refused": "refused", "unknown": "unknown"}


def _exactly_good(reply: Reply) -> bool:
    """GoodClamped and GoodCompletesAsynchronously are not done, whatever the connector makes of them."""
    return reply.status == "good" and (reply.code == "Good" or not reply.code.startswith("Good"))


def _time_is_up(order: Order, before: Scalar | None, after: Scalar | None, code: str) -> tuple[OutcomeStatus, Scalar | None, str]:
    within = f"{code}; within {order.verify_s} s"
    if after is None:
        return "unknown", None, f"{within} it could not be read back"
    if same(after, order.value, order.tolerance):
        return "unknown", after, f"{within} it showed {after!r} only once"
    if before is not None and same(after, before, order.tolerance):
        return "unknown", after, f"{within} it still reads {after!r}; it may come later"
    return "reverted", after, f"{within} it reads {after!r}, not {order.value!r}"


def _unpermitted(order: Order, findings: Sequence[Finding], intent: int) -> Outcome:
    why = "; ".join(f"{finding.guard}: {finding.why}" for finding in findings if not finding.ok) or "no permit"
    return order.outcome("refused", why, intent=intent, after=order.before)
