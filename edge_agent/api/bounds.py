"""How much may one caller ask of a small box? Requests a second, and bytes of a body."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from edge_agent.api.access import Denied
from edge_agent.clock import Clock

BODY = 64_000
_BODY_WAIT_S = 10.0
_MOST_CALLERS = 1000


class Rate:
    """A token bucket for each caller; bounded, the one unseen for longest is forgotten."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        self._clock, self._per_second, self._burst = clock, per_second, burst
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def refuse_empty(self, name: str) -> None:
        """Denied, without looking any further, for whom has none left."""
        left, since = self._buckets.get(name, (float(self._burst), 0))
        if left + (self._clock.mono_ns() - since) / 1e9 * self._per_second < 1:
            raise Denied(429, "too many wrong tokens came from your address; wait", {"Retry-After": str(round(1 / self._per_second))})

    def take(self, name: str) -> None:
        """Use one request. Denied when there is none left."""
        now = self._clock.mono_ns()
        left, since = self._buckets.pop(name, (float(self._burst), now))
        left = min(float(self._burst), left + (now - since) / 1e9 * self._per_second)
        self._buckets[name] = (max(left - 1, 0.0) if left >= 1 else left, now)
        while len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if left < 1:
            raise Denied(429, f"more than {self._per_second:g} requests a second; wait and ask for larger pages", {"Retry-After": "1"})


async def body(stream: AsyncIterator[bytes]) -> bytes:
    """A request's body. Denied when it is too long or does not come."""
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_WAIT_S):
            async for piece in stream:
                data += piece
                if len(data) > BODY:
                    raise Denied(413, f"the body is longer than {BODY} bytes; send less")
    except TimeoutError as e:
        raise Denied(408, f"the body did not come within {_BODY_WAIT_S:g} s; send it at once") from e
    return bytes(data)
