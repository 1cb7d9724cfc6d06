"""Notifications become samples; losses become gaps."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua

from edge_agent.clock import ManualClock
from edge_agent.messages import Quality
from edge_agent.opcua.delivery import Delivery, SubscriptionLost
from edge_agent.opcua.items import HEARTBEAT, Items, queue_size
from edge_agent.opcua.options import Wanted

_T0 = datetime(2026, 1, 1, tzinfo=UTC)
_T0_NS = int(_T0.timestamp()) * 10**9
_S = 10**9


def wanted(tag: str) -> Wanted:
    return Wanted(tag=tag, node=f"nsu=urn:plant;s={tag}", sampling_s=0.1)


class Desk:
    """A delivery with two items, and messages for it."""

    def __init__(self, seen: Any, queue: int = 100) -> None:
        self.seen, self.clock, self.counts = seen, ManualClock(wall_ns=_T0_NS), Counter[str]()
        self.items = Items([wanted("a"), wanted("b")], 60)
        for item in self.items:
            item.state, item.queue, item.sampling_s = "good", queue, 0.1
        self.delivery = Delivery("plc", self.items, sink=seen, clock=self.clock, counts=self.counts)

    def get(self, *changes: tuple[int, float, Any], code: int = 0, more: bool = False, silent: bool = False) -> None:
        """(handle, seconds after T0, value)"""
        notes = []
        for handle, at_s, value in changes:
            data = ua.DataValue(ua.Variant(value), ua.StatusCode(ua.UInt32(code)), SourceTimestamp=_T0 + timedelta(seconds=at_s))
            notes.append(ua.MonitoredItemNotification(ClientHandle=handle, Value=data))
        message = ua.NotificationMessage(SequenceNumber=1, NotificationData=[ua.DataChangeNotification(MonitoredItems=notes)])
        self.delivery.deliver(message, more=more, silent=silent, committed=lambda: None)


@pytest.fixture
def desk(seen: Any) -> Desk:
    return Desk(seen)


def spans(desk: Desk) -> list[tuple[str | None, float, float]]:
    return [(g.tag, (g.start_ns - _T0_NS) / _S, (g.end_ns - _T0_NS) / _S) for g in desk.seen.gaps]


def test_a_batch_is_handed_over_oldest_first(desk: Desk) -> None:
    desk.get((2, 3, 30.0), (1, 1, 10.0), (1, 2, 11.0))
    assert [(s.tag, s.value) for s in desk.seen.all] == [("a", 10.0), ("a", 11.0), ("b", 30.0)]


def test_a_value_that_is_reported_twice_is_handed_over_once_and_counted(desk: Desk) -> None:
    desk.get((1, 1, 10.0))
    desk.get((1, 1, 10.0), (1, 1, 11.0))
    desk.get((1, 2, 11.0))
    assert [s.value for s in desk.seen.all] == [10.0, 11.0, 11.0], "another value, or another time, is news"
    assert desk.counts["repeated"] == 1


def test_without_a_source_time_the_server_time_counts_and_then_ours(desk: Desk) -> None:
    data = ua.DataValue(ua.Variant(1.0), ServerTimestamp=_T0 + timedelta(seconds=7))
    message = ua.NotificationMessage(
        NotificationData=[
            ua.DataChangeNotification(
                MonitoredItems=[ua.MonitoredItemNotification(1, data), ua.MonitoredItemNotification(2, ua.DataValue(ua.Variant(2.0)))]
            )
        ]
    )
    desk.clock.advance(9)
    desk.delivery.deliver(message, more=False, silent=False, committed=lambda: None)
    assert {s.tag: (s.source_ns - _T0_NS) / _S for s in desk.seen.all} == {"a": 7, "b": 9}


def test_the_overflow_bit_is_a_gap_up_to_the_flagged_value(desk: Desk) -> None:
    desk.get((1, 1, 1.0))
    desk.get((1, 5, 5.0), code=0x480)
    assert spans(desk) == [("a", 1, 5)]
    assert desk.seen.all[-1].quality == Quality.OVERFLOW


def test_a_queue_that_came_full_may_have_run_over(seen: Any) -> None:
    desk = Desk(seen, queue=3)
    desk.get((1, 1, 1.0))
    desk.get((1, 10, 1.0), (1, 11, 2.0), more=True)
    desk.get((1, 12, 3.0))
    assert spans(desk) == [("a", 1, 12)]


def test_a_queue_that_did_not_come_full_is_no_gap(seen: Any) -> None:
    desk = Desk(seen, queue=3)
    for at in (1, 3, 5, 7):
        desk.get((1, at, 1.0), (1, at + 1, 2.0))
    assert spans(desk) == []


def test_one_value_kept_and_a_long_silence_is_a_gap(seen: Any) -> None:
    desk = Desk(seen, queue=1)
    desk.get((1, 1, 1.0))
    desk.get((1, 2, 2.0))
    desk.get((1, 9, 9.0), silent=True)
    assert spans(desk) == [("a", 2, 9)]


def test_after_an_outage_one_gap_covers_all_tags_from_when_all_was_still_well(desk: Desk) -> None:
    desk.get((1, 0, 1.0), (2, 0, 1.0))
    desk.clock.advance(10)
    desk.get((1, 10, 2.0))
    desk.clock.advance(5)  # 15: queues empty, then the link breaks
    desk.items.open_holes(desk.clock.mono_ns(), 0.2, "the subscription was lost")
    desk.clock.advance(20)
    desk.get((1, 35, 3.0), (2, 34, 2.0))
    (span,) = spans(desk)
    assert span == (None, pytest.approx(15 - 1.3), 35)
    assert desk.seen.gaps[0].reason == "the subscription was lost"


def test_a_tag_that_did_not_move_in_the_outage_has_no_gap(desk: Desk) -> None:
    desk.get((1, 0, 1.0), (2, 0, 1.0))
    desk.clock.advance(10)
    desk.items.open_holes(desk.clock.mono_ns(), 0.2, "lost")
    desk.get((1, 30, 3.0), (2, 0, 1.0))
    assert spans(desk) == [("a", pytest.approx(8.7), 30)]


def test_a_hole_stays_open_until_the_next_value_however_often_the_link_breaks(desk: Desk) -> None:
    desk.get((1, 0, 1.0))
    desk.items.open_holes(desk.clock.mono_ns(), 0.2, "first")
    desk.clock.advance(100)
    desk.items.open_holes(desk.clock.mono_ns(), 0.2, "second")
    desk.get((1, 120, 2.0))
    assert spans(desk) == [("a", 0, 120)]


def test_a_clock_that_was_set_back_still_gives_a_gap_that_runs_forward(desk: Desk) -> None:
    desk.get((1, 1000, 1.0))
    desk.items.open_holes(desk.clock.mono_ns(), 0.2, "restart")
    desk.get((1, -500, 2.0))
    ((tag, start, end),) = spans(desk)
    assert (tag, start, end) == ("a", -500, 1000)


def test_tags_never_seen_have_no_hole(desk: Desk) -> None:
    desk.items.open_holes(desk.clock.mono_ns(), 0.2, "lost")
    desk.get((1, 1, 1.0))
    assert spans(desk) == []


def test_the_servers_clock_is_a_heartbeat_and_no_sample(desk: Desk) -> None:
    desk.get((HEARTBEAT, 0, 1.0))
    assert (desk.delivery.beats, desk.seen.all) == (1, [])


def test_status_codes_are_counted_by_name(desk: Desk) -> None:
    desk.get((1, 1, 1.0), code=ua.StatusCodes.BadSensorFailure)
    assert desk.delivery.codes == {"BadSensorFailure": 1}


def test_the_end_of_the_subscription_is_noticed(desk: Desk) -> None:
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTimeout)))
    with pytest.raises(SubscriptionLost, match="BadTimeout"):
        desk.delivery.deliver(ua.NotificationMessage(NotificationData=[ended]), more=False, silent=False, committed=lambda: None)


@pytest.mark.parametrize(
    ("sampling_s", "outage_s", "size"), [(0.05, 20, 500), (1.0, 60, 75), (0.0, 10, 250), (0.01, 36000, 10_000), (60, 60, 10)]
)
def test_queues_are_sized_from_the_outage_within_bounds(sampling_s: float, outage_s: float, size: int) -> None:
    assert queue_size(sampling_s, outage_s) == size
