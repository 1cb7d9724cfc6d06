"""A silent, a deaf and a frozen subscription are found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua

from edge_agent.clock import ManualClock
from edge_agent.opcua import watch
from edge_agent.opcua.delivery import SubscriptionLost
from edge_agent.opcua.items import Item, Items
from edge_agent.opcua.options import DeadBand, Wanted

pytestmark = pytest.mark.anyio


class End(Exception):
    """The test's own end of an endless task."""


class Clock(ManualClock):
    """Moves when somebody sleeps; calls back before each sleep."""

    def __init__(self, before: Callable[[float], None] = lambda _: None) -> None:
        super().__init__()
        self.before, self.slept = before, 0.0

    async def sleep(self, seconds: float) -> None:
        self.before(self.slept)
        self.slept += seconds
        await super().sleep(seconds)


def subscription(clock: ManualClock, **more: Any) -> Any:
    return SimpleNamespace(keep_alive_s=2.0, publish_s=0.2, spoke_ns=clock.mono_ns(), **more)


async def test_silence_of_one_and_a_half_keep_alives_and_two_seconds_is_a_stall() -> None:
    clock = Clock()
    with pytest.raises(watch.Stalled, match=r"nothing for 5\.0 s"):
        await watch.stall(subscription(clock), SimpleNamespace(beats=0, beat_ns=0), clock)  # type: ignore[arg-type]
    assert 5 < clock.slept < 6


async def test_keep_alives_without_the_servers_clock_are_a_deaf_subscription() -> None:
    clock = Clock()
    sub = subscription(clock)
    clock.before = lambda _: setattr(sub, "spoke_ns", clock.mono_ns())
    with pytest.raises(SubscriptionLost, match="deaf"):
        await watch.stall(sub, SimpleNamespace(beats=3, beat_ns=clock.mono_ns()), clock)  # type: ignore[arg-type]


async def test_a_server_that_never_reported_its_clock_is_not_deaf() -> None:
    clock = Clock()
    sub = subscription(clock)

    def before(slept: float) -> None:
        sub.spoke_ns = clock.mono_ns()
        if slept > 3600:
            raise End

    clock.before = before
    with pytest.raises(End):
        await watch.stall(sub, SimpleNamespace(beats=2, beat_ns=clock.mono_ns()), clock)  # type: ignore[arg-type]


class Device:
    """Reads of single values, as a channel gives them."""

    def __init__(self, value: Any, code: int = 0) -> None:
        self.value, self.code, self.reads = value, code, 0

    async def read(self, nodes: Any, batch: int) -> list[Any]:
        self.reads += 1
        return [ua.DataValue(ua.Variant(self.value), ua.StatusCode(ua.UInt32(self.code))) for _ in nodes]


def one_item(clock: ManualClock, **more: Any) -> tuple[Items, Item]:
    items = Items([Wanted(tag="a", node="i=1", sampling_s=0.1, **more)], 60)
    (item,) = items
    item.state, item.value, item.mono_ns, item.sampling_s = "good", 1.0, clock.mono_ns(), 0.1
    return items, item


async def audit(clock: Clock, items: Items, device: Device, rounds: float = 10) -> None:
    before = clock.before

    def stop(slept: float) -> None:
        before(slept)
        if slept > rounds * 60:
            raise End

    clock.before = stop
    counts = Counter[str]()
    await watch.Audit(items, subscription(clock), every_s=60, clock=clock, counts=counts).run(device, 100)  # type: ignore[arg-type]


async def test_a_tag_that_reads_otherwise_for_a_while_shows_a_frozen_subscription() -> None:
    clock = Clock()
    items, _ = one_item(clock)
    with pytest.raises(SubscriptionLost, match="a reads otherwise"):
        await audit(clock, items, Device(2.0))
    assert clock.slept > 65


async def test_a_tag_whose_quality_turned_unnoticed_shows_it_too() -> None:
    clock = Clock()
    items, _ = one_item(clock)
    with pytest.raises(SubscriptionLost):
        await audit(clock, items, Device(1.0, ua.StatusCodes.BadSensorFailure))


async def test_a_tag_that_moves_all_the_time_is_not_suspected() -> None:
    clock = Clock()
    items, item = one_item(clock)
    clock.before = lambda _: setattr(item, "mono_ns", clock.mono_ns())
    with pytest.raises(End):
        await audit(clock, items, Device(2.0))


@pytest.mark.parametrize(
    ("band", "read", "deaf"),
    [
        (DeadBand("absolute", 0.5), 1.4, False),
        (DeadBand("absolute", 0.5), 1.6, True),
        (DeadBand("percent", 1.0), 50.0, False),
        (None, 1.0, False),
    ],
)
async def test_dead_bands_are_allowed_for(band: DeadBand | None, read: float, deaf: bool) -> None:
    clock = Clock()
    items, _ = one_item(clock, dead_band=band)
    with pytest.raises(SubscriptionLost if deaf else End):
        await audit(clock, items, Device(read))


async def test_refused_items_are_asked_for_again_later_and_later() -> None:
    clock = Clock()
    items, item = one_item(clock)
    asked: list[float] = []

    async def ask(due: list[Item]) -> None:
        from edge_agent.opcua.items import refuse

        asked.append(clock.slept)
        refuse(item, "BadNodeIdUnknown", clock.mono_ns())
        if len(asked) > 8:
            raise End

    item.state, item.retry_ns = "refused", 0
    with pytest.raises(End):
        await watch.retry(items, ask, clock)
    waits = [b - a for a, b in pairwise(asked)]
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(5, abs=0.6)
    assert waits[-1] == pytest.approx(300, abs=0.6)
