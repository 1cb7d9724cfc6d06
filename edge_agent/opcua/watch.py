"""Is the subscription still telling the truth? A stalled, a deaf and a frozen one are found out here.

Stalled: the server says nothing at all. Deaf: keep-alives come but the server's own clock is no longer reported. Frozen:
everything looks well, but a tag read directly has had another value for a while than the one last reported.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

from edge_agent.clock import Clock
from edge_agent.messages import Quality
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.delivery import Delivery, SubscriptionLost
from edge_agent.opcua.items import Item, Items
from edge_agent.opcua.subscription import Subscription
from edge_agent.opcua.values import quality_of, same, value_of

_TICK_S = 0.5
_BEATS_BEFORE_TRUST = 3  # a server that never reports its clock is not deaf
_AUDITED = 20  # tags read in one audit
_VALUE = 13


class Stalled(ConnectionError):
    """The server has gone silent: try another channel."""


def beat_every_s(subscription: Subscription) -> float:
    """How often the server's clock is to be reported."""
    return max(1.0, subscription.keep_alive_s / 2)


async def stall(subscription: Subscription, delivery: Delivery, clock: Clock) -> None:
    """Raise Stalled or SubscriptionLost when the server falls silent or deaf."""
    silence_s = subscription.keep_alive_s * 1.5 + 2.0
    deaf_s = 3 * beat_every_s(subscription) + silence_s
    while True:
        await clock.sleep(_TICK_S)
        now = clock.mono_ns()
        if (now - subscription.spoke_ns) / 1e9 > silence_s:
            raise Stalled(f"the server has published nothing for {silence_s:.1f} s")
        if delivery.beats >= _BEATS_BEFORE_TRUST and (now - delivery.beat_ns) / 1e9 > deaf_s:
            raise SubscriptionLost(f"the subscription is deaf: the server's clock was not reported for {deaf_s:.1f} s")


class Audit:
    """Reads some tags directly, a few at a time, and compares them with what was last reported."""

    def __init__(self, items: Items, subscription: Subscription, *, every_s: float, clock: Clock, counts: Counter[str]) -> None:
        self._items, self._subscription, self._every_s, self._clock, self._counts = items, subscription, every_s, clock, counts
        self._order: deque[int] = deque(i.handle for i in items)

    async def run(self, channel: Channel, batch: int) -> None:
        """Raise SubscriptionLost when a tag differs, and still differs without news after a while."""
        while True:
            await self._clock.sleep(self._every_s)
            suspects = {i.handle: i.mono_ns for i in await self._differing(channel, self._next(), batch)}
            if not suspects:
                continue
            await self._clock.sleep(self._patience_s())
            unmoved = [i for h, seen in suspects.items() if (i := self._items.get(h)) and i.mono_ns == seen]
            if deaf := await self._differing(channel, unmoved, batch):
                self._counts["audits_failed"] += 1
                raise SubscriptionLost(f"the subscription is deaf: {deaf[0].tag} reads otherwise than last reported")

    def _next(self) -> list[Item]:
        self._order.rotate(-_AUDITED)
        candidates = [self._items.get(h) for h in list(self._order)[:_AUDITED]]
        return [i for i in candidates if i and i.state == "good" and i.mono_ns and not _unsure(i)]

    def _patience_s(self) -> float:
        slowest = max((i.sampling_s for i in self._items), default=0.0)
        return 5.0 + 2 * (self._subscription.publish_s + slowest)

    async def _differing(self, channel: Channel, items: list[Item], batch: int) -> list[Item]:
        if not items:
            return []
        self._counts["audits"] += 1
        seen = [(i.value, i.code) for i in items]
        read = await channel.read([(i.node, _VALUE) for i in items], batch)
        return [i for i, was, data in zip(items, seen, read, strict=True) if _differs(i, was, data)]


def _unsure(item: Item) -> bool:
    """A dead band in percent of a range, and elements of arrays, cannot be compared here."""
    band = item.wanted.dead_band
    return item.wanted.index is not None or (item.filtered and band is not None and band.kind == "percent")


def _differs(item: Item, was: tuple[Any, int], data: Any) -> bool:
    code = data.StatusCode.value if data.StatusCode is not None else 0
    if (quality_of(code) ^ quality_of(was[1])) & (Quality.BAD | Quality.UNCERTAIN):
        return True
    value, _ = value_of(data.Value, code)
    band = item.wanted.dead_band
    tolerance = band.value * 1.01 if band is not None and item.filtered else 0.0
    return not same(value, was[0], tolerance)


async def retry(items: Items, ask: Callable[[list[Item]], Awaitable[None]], clock: Clock) -> None:
    """Ask again for refused items, for ever, each later and later."""
    while True:
        await clock.sleep(_TICK_S)
        if due := items.due(clock.mono_ns()):
            await ask(due)
