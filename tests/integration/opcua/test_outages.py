"""After an outage the data come back, and every count that is missing lies inside a declared gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from edge_agent.messages import Gap, Sample

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
Make = Callable[..., Any]
_STEP_MS = 100  # sampling 0 s: the server reports every count, so that what is missing was lost on the way


def uncovered(samples: list[Sample], gaps: list[Gap]) -> list[tuple[Any, Any]]:
    """Jumps of the counter whose missing counts (evenly spread between the two seen) do not lie inside a gap."""
    found = []
    for a, b in pairwise(samples):
        missing = int(b.value) - int(a.value) - 1
        assert missing < 10_000, (a, b)
        times = [a.source_ns + (b.source_ns - a.source_ns) * k // (missing + 1) for k in range(1, missing + 1)]
        if missing < 0 or not all(any(g.tag in (None, a.tag) and g.start_ns <= t <= g.end_ns for g in gaps) for t in times):
            found.append((a.value, b.value))
    return found


def lost(samples: list[Sample]) -> int:
    return sum(int(b.value) - int(a.value) - 1 for a, b in pairwise(samples))


async def _grown(seen: Any, more: int, timeout_s: float = 30.0) -> None:
    target = len(seen.of("counter")) + more
    await seen.until(lambda: len(seen.of("counter")) >= target, timeout_s)


async def test_a_server_frozen_for_four_seconds_loses_nothing(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant(step=_STEP_MS).start()
    async with opcua_session(plant.url, {"counter": "Counter"}, sampling="0 s", keep_alive="3 s") as session:
        await _grown(session.seen, 10)
        plant.freeze()
        await asyncio.sleep(4)  # the length of the freeze is what is tested
        plant.thaw()
        await _grown(session.seen, 20)
        assert session.seen.states() == ["connecting", "up"]
    assert lost(session.seen.of("counter")) == 0
    assert session.seen.gaps == []


async def test_a_server_frozen_for_longer_than_the_watchdog_is_taken_up_again(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant(step=_STEP_MS).start()
    async with opcua_session(plant.url, {"counter": "Counter"}, sampling="0 s", request_timeout="1 s") as session:
        await _grown(session.seen, 10)
        plant.freeze()
        await session.seen.until(lambda: "down" in session.seen.states())
        plant.thaw()
        await session.seen.until(lambda: session.seen.states()[-1] == "up")
        await _grown(session.seen, 20)
    assert uncovered(session.seen.of("counter"), session.seen.gaps) == []


async def test_a_killed_and_restarted_server_comes_back_with_a_declared_gap(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant(step=_STEP_MS).start()
    async with opcua_session(plant.url, {"counter": "Counter", "temperature": "Temperature", "still": "Still"}, sampling="0 s") as session:
        await _grown(session.seen, 10)
        plant.kill()
        await session.seen.until(lambda: "down" in session.seen.states())
        plant.start()
        await _grown(session.seen, 10)
        status = session.status()
    counts = session.seen.of("counter")
    assert lost(counts) > 5
    assert uncovered(counts, session.seen.gaps) == []
    assert status["counts"]["server_restarts"] == 1
    assert status["counts"]["losses"] == 1
    assert all(g.reason == "the server was restarted" for g in session.seen.gaps)


async def test_a_cut_wire_loses_nothing_because_the_server_kept_it(node_plant: Make, opcua_session: Make, wire: Make) -> None:
    plant = node_plant(step=_STEP_MS).start()
    async with wire(plant.port) as w, opcua_session(w.url, {"counter": "Counter"}, sampling="0 s", request_timeout="1 s") as session:
        await _grown(session.seen, 10)
        w.cut()
        await session.seen.until(lambda: "down" in session.seen.states())
        await asyncio.sleep(3)  # the server goes on counting meanwhile
        w.heal()
        await session.seen.until(lambda: session.seen.states()[-1] == "up")
        await _grown(session.seen, 60)
        status = session.status()
    assert status["counts"]["adopted"] == 1
    assert lost(session.seen.of("counter")) == 0
    assert session.seen.gaps == []


async def test_an_outage_beyond_the_servers_queue_is_a_declared_gap(node_plant: Make, opcua_session: Make, wire: Make) -> None:
    plant = node_plant(step=_STEP_MS).start()
    config = {"sampling": "0 s", "outage": "1 s", "session_timeout": "60 s", "request_timeout": "1 s"}  # a queue of 25
    async with wire(plant.port) as w, opcua_session(w.url, {"counter": "Counter"}, **config) as session:
        await _grown(session.seen, 20)
        w.cut()
        await session.seen.until(lambda: "down" in session.seen.states())
        await asyncio.sleep(3)
        w.heal()
        await session.seen.until(lambda: session.seen.states()[-1] == "up")
        await _grown(session.seen, 40)
        status = session.status()
    assert status["counts"]["adopted"] == 1
    assert lost(session.seen.of("counter")) > 0
    assert uncovered(session.seen.of("counter"), session.seen.gaps) == []


async def test_a_server_that_is_not_there_yet_is_waited_for(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant()
    async with opcua_session(plant.url, {"counter": "Counter"}) as session:
        await session.seen.until(lambda: "down" in session.seen.states())
        assert "connection refused" in session.seen.links[-1].reason
        plant.start()
        await session.seen.until(lambda: session.seen.of("counter"), 30)
    assert session.seen.gaps == []
    assert session.seen.states() == ["connecting", "down", "up"]


async def test_an_orderly_end_leaves_no_session_in_the_server(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant().start()
    for _ in range(25):  # the server has 20 sessions
        async with opcua_session(plant.url, {"sessions": {"node": "i=2277"}}, sampling="50 ms") as session:  # CurrentSessionCount
            await session.seen.until(lambda session=session: session.seen.of("sessions"))
            assert session.seen.of("sessions")[-1].value == 1


async def test_a_subscription_that_the_server_forgot_is_replaced(node_plant: Make, opcua_session: Make, wire: Make) -> None:
    plant = node_plant(step=_STEP_MS).start()
    config = {"outage": "1 s", "session_timeout": "3 s", "request_timeout": "1 s"}
    async with wire(plant.port) as w, opcua_session(w.url, {"counter": "Counter"}, sampling="0 s", **config) as session:
        await _grown(session.seen, 10)
        w.cut()
        await session.seen.until(lambda: "down" in session.seen.states())
        await asyncio.sleep(12)  # the server ends session and subscription
        w.heal()
        await _grown(session.seen, 20)
        status = session.status()
    assert status["counts"]["subscriptions"] == 2
    assert lost(session.seen.of("counter")) > 0
    assert uncovered(session.seen.of("counter"), session.seen.gaps) == []
