"""Does the server mean the same unit as the configuration? A tag whose unit differs is refused before it delivers a wrong number."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent import units
from edge_agent.opcua import contract
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.items import Item, refuse

_BATCH = 200  # nodes asked at once: two paths each, below every limit we have met


async def refuse_other_units(channel: Channel, items: Sequence[Item], *, per_read: int, mono_ns: int) -> list[Item]:
    """The items that may be watched: their unit agrees, or one side names none."""
    asked, differing = [item for item in items if item.wanted.unit is not None], set()
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        for item, stated in zip(part, await contract.stated_units(channel, [i.node for i in part], per_read), strict=True):
            if stated is not None and not units.same(item.wanted.unit or "", stated):
                refuse(item, f"configured {item.wanted.unit}, the server states {stated}; write `source_unit: {stated}`", mono_ns)
                differing.add(item.handle)
    return [item for item in items if item.handle not in differing]
