"""Links that are cut again and again while they are asked for things: what came of each?"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fault_watch import Calls, Watch, delivering
from fault_wire import CUTS, LOSSLESS, Cut, Wire

CALL_S = 1.0
RECOVERY_S = 5.0
_FIRST_S = 30.0


@dataclass
class Line:
    """One connector behind its own wire, and what came of it. `tag` is one whose values come all the time."""

    connector: Any
    wire: Wire
    tag: str
    calls: Mapping[str, Callable[[], Any]]
    watch: Watch = field(default_factory=Watch)
    asked: Calls = field(default_factory=Calls)
    cuts: list[tuple[Cut, float, float]] = field(default_factory=list)  # how, for how long, recovered after
    bitten: int = 0

    async def worry(self, number: int, start: int, longest_s: float) -> None:
        """Cut and heal so many times; each kind in turn, from `start` on."""
        rng = random.Random(start)
        for i in range(number):
            await self.watch.fresh(self.tag, time.time_ns(), _FIRST_S)  # it makes progress
            how, lasts_s = CUTS[(start + i) % len(CUTS)], rng.uniform(1.0, longest_s)
            self.wire.cut(how)
            cut_ns = time.time_ns()
            await asyncio.sleep(lasts_s)
            self.bitten += how not in LOSSLESS and self.watch.newest_ns[self.tag] < cut_ns + 500_000_000
            self.wire.heal()
            self.cuts.append((how, lasts_s, await self.watch.fresh(self.tag, time.time_ns(), 60.0)))


async def worry(lines: Sequence[Line], cuts: int, longest_s: float) -> None:
    """Cut every line on its own, while each is asked for things; at the end all are up."""
    async with AsyncExitStack() as stack:
        for line in lines:
            await stack.enter_async_context(delivering(line.connector, line.watch))
        for line in lines:
            await line.watch.fresh(line.tag, time.time_ns(), _FIRST_S)
        async with asyncio.TaskGroup() as group:
            askers = [group.create_task(line.asked.run(line.calls, 0.2)) for line in lines]
            await asyncio.wait([group.create_task(line.worry(cuts, i, longest_s)) for i, line in enumerate(lines)])
            for asker in askers:
                asker.cancel()
        await asyncio.sleep(0.5)  # for what is still on its way
        assert [line.watch.state for line in lines] == ["up"] * len(lines)


def judge(lines: Sequence[Line], cuts: int) -> dict[str, Any]:
    """What all links promise; the figures."""
    done = [cut for line in lines for cut in line.cuts]
    assert len(done) == cuts * len(lines)
    assert sum(line.bitten for line in lines) == sum(how not in LOSSLESS for how, _, _ in done), "a cut let values through: it is no cut"
    how, lasted_s, slowest_s = max(done, key=lambda cut: cut[2])
    assert slowest_s <= RECOVERY_S, f"{how} for {lasted_s:.1f} s: back only {slowest_s:.1f} s after the link"
    longest_s = max(line.asked.longest_s for line in lines)
    assert min(line.asked.answered for line in lines) > 0
    assert sum(line.asked.failed for line in lines) > 0, "no call ever met a cut link"
    assert longest_s <= 2 * CALL_S, f"a call with a time-out of {CALL_S} s took {longest_s:.2f} s"
    return {"cuts": len(done), "slowest recovery": f"{slowest_s:.1f} s ({how})", "longest call": f"{longest_s:.2f} s"}


def undeclared(line: Line, slack_ns: int) -> tuple[int, int, list[tuple[Any, Any]]]:
    """Counts seen, counts missing, and the jumps of the counter that no gap covers (missing counts lie evenly between two seen)."""
    samples = sorted(line.watch.of(line.tag), key=lambda s: int(s.value))  # type: ignore[arg-type]
    missing, bad = 0, []
    for a, b in pairwise(samples):
        lost = int(b.value) - int(a.value) - 1  # type: ignore[arg-type]
        moments = [a.source_ns + (b.source_ns - a.source_ns) * k // (lost + 1) for k in range(1, lost + 1)]
        missing += max(0, lost)
        if not all(line.watch.covered(line.tag, t, slack_ns) for t in moments):
            bad.append((a, b))
    return len(samples), missing, bad
