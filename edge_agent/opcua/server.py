"""What does the server say of itself at the beginning of a session: namespaces, limits, start time?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.errors import PlantError
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.values import nanoseconds

_BATCH = 250  # at most, and where the server states no limit: a slow PLC has to answer within the request time-out
_VALUE = 13
# Node ids in namespace 0: OPC 10000-5, 6.3 and 12.2
_NAMESPACES, _START, _STATE = 2255, 2257, 2259
_PER_READ, _PER_TRANSLATE, _PER_MONITOR = 11705, 11712, 11714


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server, as of this session."""

    namespaces: Sequence[str]
    started_ns: int  # 0: it does not say
    running: bool
    per_read: int
    per_translate: int
    per_monitor: int


async def ask(channel: Channel) -> Server:
    """Read it all; in small batches, as the limits are not yet known."""
    from asyncua import ua

    numbers = (_NAMESPACES, _START, _STATE, _PER_READ, _PER_TRANSLATE, _PER_MONITOR)
    values = await channel.read([(ua.NodeId(ua.Int32(n)), _VALUE) for n in numbers], batch=3)
    names, start, state, *limits = [_good(v) for v in values]
    if not isinstance(names, list):
        raise PlantError("the server does not tell its namespaces")
    per_read, per_translate, per_monitor = (min(x, _BATCH) if isinstance(x, int) and x > 0 else _BATCH for x in limits)
    return Server(
        namespaces=[str(n) for n in names],
        started_ns=nanoseconds(start),
        running=state in (None, 0),
        per_read=per_read,
        per_translate=per_translate,
        per_monitor=per_monitor,
    )


def _good(data: Any) -> Any:
    return data.Value.Value if data.StatusCode is None or data.StatusCode.is_good() else None
