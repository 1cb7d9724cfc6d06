"""The actuator alone: permits, records, and what it does when it is not allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted_plc import Ledger, Plc

from edge_agent.clock import ManualClock
from edge_agent.contracts import TagContract
from edge_agent.errors import LedgerError
from edge_agent.execute.actuator import Actuator, value_of
from edge_agent.execute.book import Book
from edge_agent.execute.gate.permit import LONGEST_NS, Finding, Permit
from edge_agent.execute.orders import Order
from edge_agent.messages import Outcome, Quality, Reading

pytestmark = pytest.mark.anyio


class Desk:
    """An actuator, its PLC, and an order for speed = 10."""

    def __init__(self) -> None:
        self.clock, self.ledger = ManualClock(), Ledger()
        self.plc = Plc(self.clock, self.ledger, {"speed": 0.0}, {"speed": TagContract(type="Double", writable=True)})
        self.book = Book(self.ledger, "p1")
        self.actuator = Actuator(ports={"speed": self.plc}, book=self.book, clock=self.clock)
        self.order = Order(
            loop="p1",
            tag="speed",
            kind="trim",
            purpose="act",
            value=10.0,
            target=10.0,
            before=0.0,
            tolerance=0.5,
            verify_s=1.0,
            decision=1,
            window=1,
            asked_ns=self.clock.mono_ns(),
            reason="",
        )

    async def perform(self, **changes: object) -> tuple[Outcome, bool]:
        def authorise(intent: int) -> tuple[Permit | None, list[Finding]]:
            permit = Permit(
                loop="p1",
                tag="speed",
                value=10.0,
                precondition=0.0,
                nonce="n",
                expires_ns=self.clock.mono_ns() + LONGEST_NS,
                intent=intent,
            )
            return replace(permit, **changes), []  # type: ignore[arg-type]

        return await self.actuator.perform(self.order, authorise, lambda intent: None)


async def test_intent_write_outcome_in_this_order() -> None:
    desk = Desk()
    outcome, sent = await desk.perform()
    assert (outcome.status, outcome.intent, outcome.after, sent) == ("confirmed", 0, 10.0, True)
    assert [kind for kind, _ in desk.ledger.records] == ["intent", "outcome"]


async def test_a_permit_is_used_once() -> None:
    desk = Desk()
    await desk.perform()
    desk.plc.values["speed"] = 0.0
    outcome, sent = await desk.perform()
    assert (outcome.status, outcome.why, sent) == ("refused", "the permit was used before", False)
    assert len(desk.plc.writes) == 1


@pytest.mark.parametrize("changes", [{"value": 20.0}, {"tag": "valve"}, {"loop": "p2"}, {"expires_ns": 0}, {"precondition": 5.0}])
async def test_a_permit_for_something_else_lets_nothing_out(changes: dict[str, object]) -> None:
    desk = Desk()
    outcome, sent = await desk.perform(**changes)
    assert (outcome.status, sent) == ("refused", False)
    assert desk.plc.writes == []
    assert not desk.ledger.open_intents()


async def test_without_a_permit_the_intent_ends_as_refused_with_the_reasons() -> None:
    desk = Desk()
    outcome, sent = await desk.actuator.perform(
        desk.order, lambda _: (None, [Finding("mode", False, "the loop is in observe")]), lambda _: None
    )
    assert (outcome.status, sent) == ("refused", False)
    assert desk.ledger.of("outcome")[0]["findings"] == [["mode", False, "the loop is in observe"]]


async def test_no_intent_no_write() -> None:
    desk = Desk()
    desk.ledger.broken = True
    with pytest.raises(LedgerError):
        await desk.perform()
    assert desk.plc.writes == []


async def test_an_outcome_that_the_ledger_cannot_take_is_owed_and_put_down_later_in_order() -> None:
    desk = Desk()
    desk.plc.script.append("ledger dies")
    original = desk.plc.write

    async def write(tag: str, value: float, timeout_s: float) -> object:
        reply = await original(tag, value, timeout_s)
        desk.ledger.broken = True
        desk.plc.values["speed"] = value
        return reply

    desk.plc.write = write  # type: ignore[method-assign,assignment]
    outcome, _ = await desk.perform()
    assert outcome.status == "confirmed"
    assert not desk.book.healthy
    assert desk.book.owed == 1
    await desk.book.note("mode", {"to": "hold"})
    await desk.book.settle()
    assert desk.book.owed == 2
    desk.ledger.broken = False
    await desk.book.settle()
    assert [kind for kind, _ in desk.ledger.records] == ["intent", "outcome", "mode"]
    assert desk.book.healthy


async def test_what_is_owed_is_bounded_and_counted() -> None:
    desk = Desk()
    desk.ledger.broken = True
    for _ in range(300):
        await desk.book.note("mode", {})
    assert (desk.book.owed, desk.book.dropped) == (256, 44)


async def test_a_tuple_is_for_calls_only() -> None:
    desk = Desk()
    desk.order = replace(desk.order, value=(10.0,))
    outcome, _ = await desk.perform(value=(10.0,))
    assert outcome.status == "refused"
    assert desk.plc.writes == []


async def test_a_device_that_cannot_be_read_back_leaves_the_outcome_unknown() -> None:
    desk = Desk()
    desk.plc.script.append("vanish")
    outcome, _ = await desk.perform()
    assert outcome.status == "unknown"
    assert "could not be read back" in outcome.why


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (None, None),
        (Reading(1.5, 0, 0, 0.0), 1.5),
        (Reading(1.5, int(Quality.HELD), 0, 0.0), 1.5),
        (Reading(1.5, int(Quality.BAD), 0, 0.0), None),
        (Reading(1.5, int(Quality.UNCERTAIN), 0, 0.0), None),
        (Reading(None, 0, 0, 0.0), None),
        (Reading(True, 0, 0, 0.0), True),
    ],
)
def test_only_a_good_plain_value_is_evidence(reading: Reading | None, expected: object) -> None:
    assert value_of(reading) is expected or value_of(reading) == expected
