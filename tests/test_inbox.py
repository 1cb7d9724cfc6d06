"""From the connectors' threads into the control loop."""

from __future__ import annotations

import threading

import pytest

from edge_agent.inbox import Inbox, Samples
from edge_agent.messages import Sample

pytestmark = pytest.mark.anyio


def batch(n: int) -> list[Sample]:
    return [Sample("a", float(i), 0, i, i, i) for i in range(n)]


async def test_what_many_threads_put_comes_out_once_each_in_the_order_of_each() -> None:
    inbox = Inbox()

    def put(tag: str) -> None:
        for i in range(500):
            inbox.samples([Sample(tag, float(i), 0, i, i, i)])

    threads = [threading.Thread(target=put, args=(t,)) for t in "abc"]
    for thread in threads:
        thread.start()
    seen: dict[str, list[float]] = {t: [] for t in "abc"}
    while sum(map(len, seen.values())) < 1500:
        await inbox.wait(5.0)
        for event in inbox.drain():
            assert isinstance(event, Samples)
            seen[event.batch[0].tag].append(event.batch[0].value)  # type: ignore[arg-type]
    assert all(values == sorted(values) and len(values) == 500 for values in seen.values())


async def test_a_full_inbox_drops_the_new_batch_counts_it_and_never_acknowledges_it() -> None:
    inbox = Inbox(bound=10)
    acknowledged: list[int] = []
    inbox.samples(batch(8), lambda: acknowledged.append(8))
    inbox.samples(batch(5), lambda: acknowledged.append(5))
    events = inbox.drain()
    assert (len(events), inbox.dropped, inbox.waiting, acknowledged) == (1, 5, 0, [])


async def test_a_drain_takes_no_more_than_asked_and_leaves_the_rest_awake() -> None:
    inbox = Inbox()
    for _ in range(5):
        inbox.samples(batch(1))
    assert len(inbox.drain(most=3)) == 3
    await inbox.wait(0.0)
    assert len(inbox.drain()) == 2


async def test_waiting_ends_after_its_time_although_nothing_came() -> None:
    inbox = Inbox()
    await inbox.wait(0.001)
    assert inbox.drain() == []
