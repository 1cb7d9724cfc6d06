"""Which waiting requests go to the worker together, and may windows of several loops share one run of the graph?

A window's answer must not depend on its company: a replay runs it alone. So windows share a run only where that was proven, bit by
bit, for every size of run that is used; elsewhere they share the trip to the worker, and it runs them one by one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
Feeds = Mapping[str, NDArray[Any]]

_LONGEST_NS = 5_000_000  # of one trip: another model's windows wait behind it
_WORTH_NS = 500_000  # of one window: above, the trip is small beside the work, and sharing gains nothing
_NOISE = 0.05  # share by which the windows of a proof differ from the golden ones


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """Windows that somebody waits for."""

    feeds: Feeds = field(repr=False)
    batch: int
    timeout_s: float
    deadline: float  # of the event loop's clock
    answer: asyncio.Future[Arrays]
    timer: asyncio.TimerHandle | None = None
    alone: bool = False  # it failed in company

    def watch(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Any, Request], None], graph: Any) -> None:
        """Have its deadline told."""
        if self.timer:
            self.timer.cancel()
        self.timer = loop.call_at(self.deadline, expired, graph, self)


def take(queue: deque[Request], *, room: int, window_ns: float, now: float) -> list[Request]:
    """The oldest requests that fit into one trip; those that nobody waits for any more, or that are late already, are dropped."""
    most = min(room, max(1, int(_LONGEST_NS / max(window_ns, 1.0))))
    taken: list[Request] = []
    size = 0
    while queue:
        request = queue[0]
        if request.answer.done() or request.deadline <= now:  # its timer says so
            queue.popleft()
            continue
        if taken and (size + request.batch > most or request.alone or taken[0].alone):
            break
        taken.append(queue.popleft())
        size += request.batch
    return taken


def cuts(requests: Sequence[Request], *, shared: bool) -> list[int]:
    """How many windows each run takes, in order: single ones in runs of 1, 2, 4, 8 ... where they may share, else as they came."""
    found: list[int] = []
    singles = 0
    for request in requests:
        if shared and request.batch == 1:
            singles += 1
            continue
        found += [*_powers(singles), request.batch]
        singles = 0
    return found + _powers(singles)


def _powers(count: int) -> list[int]:
    """37 -> 32, 4, 1."""
    return [1 << bit for bit in reversed(range(count.bit_length())) if count >> bit & 1]


async def proven(golden: Mapping[str, NDArray[np.float32]], room: int, run: Callable[[Feeds, int], Awaitable[Arrays]]) -> bool:
    """Whether every window gets the same bits alone and in each size of run that `cuts` makes up to `room`."""
    feeds = _varied(golden, 1 << (room.bit_length() - 1))
    count = len(next(iter(feeds.values())))
    alone = [await run({name: array[i : i + 1] for name, array in feeds.items()}, 1) for i in range(count)]
    expected = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
    size = 2
    while size <= count:
        for at in (0, count - size):
            found = await run({name: array[at : at + size] for name, array in feeds.items()}, size)
            if any(found[name].tobytes() != rows[at : at + size].tobytes() for name, rows in expected.items()):
                return False
        size *= 2
    return True


def worth(window_ns: float) -> bool:
    """Whether sharing a run can gain anything."""
    return window_ns <= _WORTH_NS


def _varied(golden: Mapping[str, NDArray[np.float32]], count: int) -> Arrays:
    """The golden windows over and over, no two alike."""
    random = np.random.default_rng(0)
    found = {}
    for name, array in golden.items():
        rows = array[np.arange(count) % len(array)]
        found[name] = (rows * (1 + _NOISE * random.standard_normal(rows.shape))).astype(np.float32)
    return found
