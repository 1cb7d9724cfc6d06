"""Every message once, in order; every missing one fetched or declared lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from edge_agent.clock import ManualClock
from edge_agent.opcua.delivery import Delivery, SubscriptionLost
from edge_agent.opcua.items import Items
from edge_agent.opcua.options import Login, Options, Security, Wanted
from edge_agent.opcua.subscription import Subscription

pytestmark = pytest.mark.anyio
_T0 = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = Options(
    connector="plc",
    agent="a",
    url="opc.tcp://127.0.0.1:4840",
    state=Path(),
    security=Security(),
    login=Login(),
    outage_s=60,
    publish_s=0.2,
    keep_alive_s=3,
    session_s=60,
    request_s=4,
    max_backoff_s=30,
    audit_s=60,
)


class Script:
    """A channel to a server that is a list of answers: publish responses in order, and a store for republish."""

    def __init__(self) -> None:
        self.publishes: list[Any] = []
        self.kept: dict[int, Any] = {}
        self.acknowledged: list[int] = []
        self.asked: list[str] = []

    async def ask(self, request: Any, answer: Any, timeout_s: float | None = None) -> Any:
        self.asked.append(type(request).__name__)
        if isinstance(request, ua.PublishRequest):
            self.acknowledged += [a.SequenceNumber for a in request.Parameters.SubscriptionAcknowledgements]
            if not self.publishes:
                raise ConnectionError("the script is at its end")
            return ua.PublishResponse(Parameters=self.publishes.pop(0))
        if isinstance(request, ua.RepublishRequest):
            sequence = request.Parameters.RetransmitSequenceNumber
            if sequence not in self.kept:
                raise ua.uaerrors.BadMessageNotAvailable
            return ua.RepublishResponse(NotificationMessage=self.kept[sequence])
        if isinstance(request, ua.TransferSubscriptionsRequest):
            result = ua.TransferResult(AvailableSequenceNumbers=sorted(self.kept))
            response = ua.TransferSubscriptionsResponse()
            response.Parameters.Results = [result]
            return response
        raise AssertionError(request)


def data(sequence: int) -> Any:
    value = ua.DataValue(ua.Variant(float(sequence)), SourceTimestamp=_T0 + timedelta(seconds=sequence % 1000))
    notes = ua.DataChangeNotification(MonitoredItems=[ua.MonitoredItemNotification(1, value)])
    return ua.NotificationMessage(SequenceNumber=sequence, NotificationData=[notes])


def result(message: Any, more: bool = False) -> Any:
    return ua.PublishResult(SubscriptionId=7, MoreNotifications=more, NotificationMessage=message)


def keep_alive(sequence: int) -> Any:
    return result(ua.NotificationMessage(SequenceNumber=sequence))


class Bench:
    def __init__(self, seen: Any) -> None:
        self.seen, self.clock, self.counts, self.script = seen, ManualClock(), Counter[str](), Script()
        items = Items([Wanted(tag="a", node="i=1", sampling_s=0.1)], 60)
        for item in items:
            item.state, item.queue = "good", 100
        delivery = Delivery("plc", items, sink=seen, clock=self.clock, counts=self.counts)
        self.subscription = Subscription(OPTIONS, delivery, sink=seen, clock=self.clock, counts=self.counts)
        self.subscription.id = 7
        self.subscription.drained_ns = self.clock.mono_ns()

    async def pump(self, *results: Any) -> None:
        self.script.publishes = list(results)
        with pytest.raises(ConnectionError, match="end"):
            await self.subscription.pump(self.script)  # type: ignore[arg-type]

    @property
    def got(self) -> list[Any]:
        return [s.value for s in self.seen.all]


@pytest.fixture
def bench(seen: Any) -> Bench:
    return Bench(seen)


async def test_messages_are_delivered_and_acknowledged_once_committed_and_remembered(bench: Bench) -> None:
    bench.seen.commit = False
    await bench.pump(result(data(1)), result(data(2)))
    assert bench.subscription.safe() is None
    for committed in bench.seen.uncommitted:
        committed()
    assert bench.subscription.safe() == 2
    await bench.pump(keep_alive(3))
    assert bench.script.acknowledged == []
    bench.subscription.acknowledge(2)
    await bench.pump(keep_alive(3))
    assert bench.got == [1, 2]
    assert bench.script.acknowledged == [1, 2]


async def test_a_message_is_safe_only_when_all_before_it_are(bench: Bench) -> None:
    bench.seen.commit = False
    await bench.pump(result(data(1)), result(data(2)))
    bench.seen.uncommitted[1]()
    assert bench.subscription.safe() is None
    bench.seen.uncommitted[0]()
    assert bench.subscription.safe() == 2


async def test_a_missing_message_is_fetched_before_the_later_one_is_delivered(bench: Bench) -> None:
    bench.script.kept = {2: data(2), 3: data(3)}
    await bench.pump(result(data(1)), result(data(4)))
    assert bench.got == [1, 2, 3, 4]
    assert bench.counts["republished"] == 2


async def test_a_keep_alive_that_counts_further_shows_a_missing_message(bench: Bench) -> None:
    bench.script.kept = {2: data(2)}
    await bench.pump(result(data(1)), keep_alive(3))
    assert bench.got == [1, 2]


async def test_a_message_that_cannot_be_fetched_ends_the_subscription(bench: Bench) -> None:
    bench.script.publishes = [result(data(1)), result(data(3))]
    with pytest.raises(SubscriptionLost, match="message 2"):
        await bench.subscription.pump(bench.script)  # type: ignore[arg-type]
    assert bench.got == [1]


async def test_a_message_that_comes_twice_is_delivered_once(bench: Bench) -> None:
    await bench.pump(result(data(1)), result(data(2)), result(data(1)), result(data(2)), result(data(3)))
    assert bench.got == [1, 2, 3]
    assert bench.counts["duplicates"] == 2


async def test_sequence_numbers_wrap_to_one(bench: Bench) -> None:
    bench.subscription._last = 0xFFFFFFFE
    await bench.pump(result(data(0xFFFFFFFF)), keep_alive(1), result(data(1)), result(data(2)))
    assert bench.got == [0xFFFFFFFF, 1, 2]
    assert bench.counts["sequence_breaks"] == 0


async def test_every_message_says_that_the_plant_is_alive(bench: Bench) -> None:
    await bench.pump(keep_alive(1), result(data(1)), keep_alive(2))
    assert bench.seen.alives == 3


async def test_messages_of_another_subscription_are_not_taken(bench: Bench) -> None:
    stranger = ua.PublishResult(SubscriptionId=8, NotificationMessage=data(1))
    await bench.pump(stranger)
    assert (bench.got, bench.seen.alives) == ([], 0)


async def test_after_a_new_channel_what_was_sent_into_the_void_is_fetched(bench: Bench) -> None:
    await bench.pump(result(data(1)))
    bench.script.kept = {1: data(1), 2: data(2), 3: data(3)}
    bench.subscription.redeliver(await bench.subscription.adopt(bench.script, transfer=False))  # type: ignore[arg-type]
    await bench.pump(result(data(4)))
    assert bench.got == [1, 2, 3, 4]


async def test_a_transferred_subscription_says_what_it_kept(bench: Bench) -> None:
    await bench.pump(result(data(1)))
    bench.script.kept = {2: data(2), 3: data(3)}
    bench.subscription.redeliver(await bench.subscription.adopt(bench.script, transfer=True))  # type: ignore[arg-type]
    assert bench.got == [1, 2, 3]
    assert bench.script.asked.count("RepublishRequest") == 2


class Refusing(Script):
    """A server that answers publish requests with a fault."""

    def __init__(self, fault: type[Exception], times: int) -> None:
        super().__init__()
        self.fault, self.times = fault, times

    async def ask(self, request: Any, answer: Any, timeout_s: float | None = None) -> Any:
        if isinstance(request, ua.PublishRequest) and self.times:
            self.times -= 1
            raise self.fault
        return await super().ask(request, answer, timeout_s)


async def test_an_idle_timeout_of_a_publish_request_is_no_trouble(bench: Bench) -> None:
    bench.script = Refusing(ua.uaerrors.BadTimeout, 3)
    await bench.pump(result(data(1)))
    assert bench.got == [1]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (ua.uaerrors.BadNoSubscription, SubscriptionLost),
        (ua.uaerrors.BadSessionIdInvalid, ua.uaerrors.BadSessionIdInvalid),
        (ua.uaerrors.BadTooManyPublishRequests, ua.uaerrors.BadTooManyPublishRequests),  # the only pump must not retire
    ],
)
async def test_other_faults_end_the_pump(bench: Bench, fault: type[Exception], raised: type[Exception]) -> None:
    refusing: Callable[..., Any] = Refusing
    with pytest.raises(raised):
        await bench.subscription.pump(refusing(fault, 1))
