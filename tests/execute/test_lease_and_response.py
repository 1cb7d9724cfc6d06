"""The heartbeat, and the process that answers or does not."""

from __future__ import annotations

import pytest
from scripted_plc import Ledger, Plc

from edge_agent.clock import ManualClock
from edge_agent.config.model import Response
from edge_agent.execute.lease import Lease
from edge_agent.execute.orders import Order
from edge_agent.execute.response import begin, judge
from edge_agent.messages import Quality, Reading

S = 1_000_000_000


def made() -> tuple[Lease, Plc, ManualClock]:
    clock, ledger = ManualClock(), Ledger()
    plc = Plc(clock, ledger, {"lease": 0}, {})
    return Lease("lease", plc, every_s=1.0, clock=clock), plc, clock


@pytest.mark.anyio
async def test_it_beats_when_due_and_wraps_within_the_type() -> None:
    lease, plc, clock = made()
    lease.of_type("SByte")
    for _ in range(300):
        await lease.beat()
        clock.advance(0.5)
    assert len(plc.beats) == 150
    assert plc.beats[:3] == [1, 2, 3]
    assert plc.beats[126:129] == [127, 1, 2]


def shows(value: object, quality: int = 0) -> Reading:
    return Reading(value, quality, 0, 0.0)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_only_several_strange_counts_are_a_rival() -> None:
    lease, _, _ = made()
    assert not any(lease.contested(shows(strange)) for strange in (7, 8, 9)), "before the first beat it is nobody's"
    await lease.beat()
    assert not any(lease.contested(shows(value)) for value in (1, 0, 512, 512, 512, 513))
    assert not lease.contested(shows(514, int(Quality.LINK)))
    assert not lease.contested(None)
    assert lease.contested(shows(514))
    lease.forget()
    assert not lease.contested(shows(514))


DOWN = Response.model_validate({"tag": "flow", "direction": "down", "by": 2.0, "within": "20 s"})
ORDER = Order(
    loop="p1", tag="speed", kind="trim", purpose="act", value=-10.0, target=-20.0, before=0.0, tolerance=1.0, verify_s=1.0, decision=1,
    window=1,
    asked_ns=0, reason="",
)  # fmt: skip


def test_a_tag_that_moves_far_enough_the_right_way_is_an_answer() -> None:
    watch = begin(None, wanted=DOWN, order=ORDER, intent=1, reading=shows(40.0), now_ns=0)
    assert judge(watch, shows(39.0), 5 * S) is None
    assert judge(watch, shows(43.0), 5 * S) is None
    answered, why = judge(watch, shows(38.0), 5 * S) or (None, "")
    assert answered
    assert "flow moved down by 2" in why


def test_silence_until_the_deadline_is_no_answer_and_an_unreadable_tag_neither() -> None:
    watch = begin(None, wanted=DOWN, order=ORDER, intent=1, reading=shows(40.0), now_ns=0)
    assert (judge(watch, shows(39.0), 20 * S) or (True, ""))[0] is False
    assert (judge(watch, None, 20 * S) or (True, ""))[0] is False
    blind = begin(None, wanted=DOWN, order=ORDER, intent=1, reading=None, now_ns=0)
    assert judge(blind, shows(0.0), 19 * S) is None
    assert "could not be read" in (judge(blind, shows(0.0), 20 * S) or (True, ""))[1]


def test_a_further_step_prolongs_the_watch_from_the_first_start() -> None:
    first = begin(None, wanted=DOWN, order=ORDER, intent=1, reading=shows(40.0), now_ns=0)
    second = begin(first, wanted=DOWN, order=ORDER, intent=2, reading=shows(39.0), now_ns=12 * S)
    assert (second.start, second.intent, second.deadline_ns) == (40.0, 2, 32 * S)
