"""After our own restart, what are the tags that have not changed in the meantime? A kept subscription reports changes only."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from edge_agent.clock import Clock
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.delivery import Delivery
from edge_agent.opcua.items import Item, Items
from edge_agent.opcua.subscription import Subscription

_VALUE = 13
_TICK_S = 0.05


async def retell(channel: Channel, items: Items, subscription: Subscription, delivery: Delivery, *, batch: int, clock: Clock) -> None:
    """Deliver the present value of every tag of which nothing has been heard in this process, after all that had waited.

    A change on its way while we read is in the server's next answer: it is waited for, and goes before.
    """
    await _drained(subscription, clock.mono_ns(), clock)
    unheard = sorted((i for i in items.good() if not i.heard), key=_index)
    read: list[tuple[Item, Any]] = []
    for _, same in groupby(unheard, key=_index):
        group = list(same)
        index = group[0].wanted.index
        values = await channel.read([(i.node, _VALUE) for i in group], batch, None if index is None else str(index))
        read += zip(group, values, strict=True)
    await _drained(subscription, clock.mono_ns(), clock)
    delivery.tell([(item, data) for item, data in read if not item.heard])


def _index(item: Item) -> int:
    return -1 if item.wanted.index is None else item.wanted.index


async def _drained(subscription: Subscription, since_ns: int, clock: Clock) -> None:
    while subscription.drained_ns <= since_ns:
        await clock.sleep(_TICK_S)
