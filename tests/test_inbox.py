"""From the connectors' threads into the control loop."""

from __future__ import annotations

import threading

import pytest

from edge_agent.inbox import Inbox, Samples
from edge_agent.messages import Gap, Sample

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


async def test_what_nobody_keeps_is_declared_once_for_each_time_the_inbox_ran_full() -> None:
    inbox = Inbox(bound=10)
    sink = inbox.of("plc")
    sink.samples(batch(8))
    for _ in range(3):
        sink.samples(batch(5))
    inbox.of("bus").samples([*batch(4)[2:], Sample("b", 1.0, 0, 9, 9, 9)])
    first = inbox.drain()
    gaps = [e for e in first if isinstance(e, Gap)]
    assert [(g.connector, g.tag, g.start_ns, g.end_ns, g.lost) for g in gaps] == [("plc", "a", 0, 4, 15), ("bus", None, 2, 9, 3)]
    assert isinstance(first[0], Samples)
    sink.samples(batch(8))
    assert not [e for e in inbox.drain() if isinstance(e, Gap)]
    assert inbox.dropped == 18


async def test_a_batch_that_the_sender_keeps_leaves_no_gap() -> None:
    inbox = Inbox(bound=10)
    inbox.samples(batch(8))
    inbox.samples(batch(5), lambda: None)
    assert not [e for e in inbox.drain() if isinstance(e, Gap)]


async def test_an_inbox_that_never_empties_still_declares_what_it_lost() -> None:
    inbox = Inbox(bound=10)
    declared = 0
    for _ in range(20):
        for _ in range(3):
            inbox.samples(batch(5))
        declared += sum(e.lost or 0 for e in inbox.drain(most=1) if isinstance(e, Gap))
    assert 0 < declared <= inbox.dropped
    assert inbox.dropped - declared <= 30


async def test_what_comes_from_the_loop_s_own_thread_is_taken_at_once_and_in_order() -> None:
    inbox = Inbox()
    taken: list[object] = []
    inbox.samples(batch(1))
    inbox.taker = taken.append
    inbox.samples(batch(2))  # something waits before it
    assert (taken, [len(e.batch) for e in inbox.drain() if isinstance(e, Samples)]) == ([], [1, 2])
    inbox.samples(batch(3))
    assert (len(taken), inbox.waiting, inbox.drain()) == (1, 0, [])


async def test_what_threads_bring_is_never_taken_on_their_thread() -> None:
    inbox = Inbox()
    taken: list[object] = []
    inbox.taker = taken.append
    thread = threading.Thread(target=inbox.samples, args=(batch(1),))
    thread.start()
    thread.join()
    assert (taken, len(inbox.drain())) == ([], 1)


async def test_a_defect_of_the_taker_is_raised_where_it_waits_not_in_the_connector() -> None:
    inbox = Inbox()

    def taker(event: object) -> None:
        raise KeyError(event)

    inbox.taker = taker
    inbox.samples(batch(1))
    with pytest.raises(KeyError):
        await inbox.wait(1.0)
    await inbox.wait(0.001)
