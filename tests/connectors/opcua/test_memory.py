"""What an earlier process left behind is taken up whole, or not at all; unchanged tags are told again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua

from edge_agent.clock import ManualClock
from edge_agent.opcua.channel import Session
from edge_agent.opcua.delivery import Delivery
from edge_agent.opcua.items import Items
from edge_agent.opcua.memory import Memory, Terms, shifted
from edge_agent.opcua.options import Login, Options, Security, Wanted
from edge_agent.opcua.retell import retell
from edge_agent.opcua.server import Server

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WANTED = [Wanted(tag="a", node="i=1", sampling_s=0.1), Wanted(tag="b", node="i=2", sampling_s=0.1)]
TERMS = Terms(id=7, publish_s=0.2, keep_alive_s=1.0, lifetime_s=75.0)
SERVER = Server(namespaces=["urn:a"], started_ns=5, running=True, per_read=9, per_translate=9, per_monitor=9)
SESSION = Session(
    token=ua.NodeId(b"secret", 0, ua.NodeIdType.ByteString), nonce=b"123", policies=[ua.UserTokenPolicy(PolicyId="anonymous")]
)


def options(state: Path) -> Options:
    times = {"outage_s": 60, "publish_s": 0.2, "keep_alive_s": 1, "session_s": 60, "request_s": 4, "max_backoff_s": 30, "audit_s": 60}
    return Options(connector="plc", agent="a1", url="opc.tcp://h:1", state=state, security=Security(), login=Login(), **times)


def memory(state: Path, clock: ManualClock, wanted: list[Wanted] | None = None, **other: Any) -> Memory:
    return Memory(replace(options(state), **other), WANTED if wanted is None else wanted, clock)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def left(tmp_path: Path, clock: ManualClock) -> Path:
    """A folder in which a process was killed that had got as far as message 12."""
    made = memory(tmp_path, clock)
    items = Items(WANTED, 60)
    for item in items:
        item.state, item.queue, item.source_ns, item.mono_ns = "good", 100, 1000, clock.mono_ns() - 1
    made.attach(SESSION, SERVER, TERMS, clock.mono_ns(), items.memory())
    made.place(TERMS, 12, clock.mono_ns())
    return tmp_path


def test_all_is_taken_up_again(left: Path, clock: ManualClock) -> None:
    found = memory(left, clock).recall()
    assert found is not None
    assert found.session == SESSION
    assert (found.server, found.terms, found.place.last) == (SERVER, TERMS, 12)
    items = Items(WANTED, 60)
    assert items.recall(found.items, names=["urn:a"], then_ns=0, now_ns=0, publish_s=0.2)
    assert [(i.state, i.queue, i.source_ns, i.node) for i in items] == [("good", 100, 1000, ua.NodeId(n)) for n in (1, 2)]


@pytest.mark.parametrize("other", [{"url": "opc.tcp://other:1"}, {"login": Login(user="li", password="x")}, {"agent": "a2"}])
def test_another_server_or_login_finds_nothing(left: Path, clock: ManualClock, other: dict[str, Any]) -> None:
    assert memory(left, clock, **other).recall() is None


def test_other_tags_begin_anew_and_still_know_since_when_they_miss_something(left: Path, clock: ManualClock) -> None:
    found = memory(left, clock, WANTED[:1]).recall()
    assert found is not None
    assert found.session is None
    items = Items(WANTED[:1], 60)
    items.recall(found.items, names=["urn:a"], then_ns=0, now_ns=0, publish_s=0.2)
    items.open_holes(0, 0.2, "away")
    assert [i.hole_ns for i in items] == [1000]


def test_after_leaving_in_good_order_there_is_no_session(left: Path, clock: ManualClock) -> None:
    memory(left, clock).leave()
    found = memory(left, clock).recall()
    assert found is not None
    assert found.session is None


@pytest.mark.parametrize("name", ["attached.json", "place.json"])
@pytest.mark.parametrize("size", range(0, 400, 7))
def test_a_file_cut_short_harms_nothing(left: Path, clock: ManualClock, name: str, size: int) -> None:
    raw = (left / name).read_bytes()[:size]
    whole = len(raw) == (left / name).stat().st_size
    (left / name).write_bytes(raw)
    found = memory(left, clock).recall()
    assert found is None if name == "attached.json" else found is not None and found.place.last == (12 if whole else 0)


def test_the_place_of_another_subscription_is_not_ours(left: Path, clock: ManualClock) -> None:
    memory(left, clock).place(replace(TERMS, id=8), 99, 0)
    found = memory(left, clock).recall()
    assert found is not None
    assert found.place.last == 0


def test_the_files_are_for_the_owner_only(left: Path) -> None:
    assert [file.stat().st_mode & 0o777 for file in left.glob("*.json")] == [0o600, 0o600]
    assert "secret" not in json.dumps(json.loads((left / "place.json").read_text()))


def test_the_time_away_is_taken_from_the_wall_clock(left: Path, clock: ManualClock) -> None:
    found = memory(left, clock).recall()
    assert found is not None
    clock.advance(40.0)
    assert clock.mono_ns() - shifted(found.place, clock).drained_ns == 40_000_000_000


# ---------------------------------------------------------------- tags that have not changed


class Told:
    """A subscription, its items, and a channel whose reads give each node its own number."""

    def __init__(self, seen: Any) -> None:
        self.seen, self.clock = seen, ManualClock()
        self.items = Items(WANTED, 60)
        for n, item in enumerate(self.items, 1):
            item.state, item.queue, item.node = "good", 100, ua.NodeId(n)
        self.delivery = Delivery("plc", self.items, sink=seen, clock=self.clock, counts=Counter())
        self.subscription: Any = SimpleNamespace(drained_ns=0)

    async def read(self, nodes: Any, batch: int, index: Any) -> list[Any]:
        return [ua.DataValue(ua.Variant(float(node.Identifier)), SourceTimestamp=T0) for node, _ in nodes]

    def report(self, handle: int, value: float, after_s: float) -> None:
        data = ua.DataValue(ua.Variant(value), SourceTimestamp=T0 + timedelta(seconds=after_s))
        notes = ua.DataChangeNotification(MonitoredItems=[ua.MonitoredItemNotification(handle, data)])
        message = ua.NotificationMessage(SequenceNumber=1, NotificationData=[notes])
        self.delivery.deliver(message, more=False, silent=False, committed=lambda: None)

    async def retold(self, meanwhile: Any = lambda: None) -> list[tuple[str, Any]]:
        async with asyncio.TaskGroup() as group:
            group.create_task(
                retell(self, self.items, self.subscription, self.delivery, batch=10, clock=self.clock)  # type: ignore[arg-type]
            )
            for act in (lambda: None, meanwhile):
                for _ in range(5):
                    await asyncio.sleep(0)
                act()
                self.clock.advance(1.0)
                self.subscription.drained_ns = self.clock.mono_ns()
        return [(s.tag, s.value) for s in self.seen.all]


@pytest.mark.anyio
async def test_a_tag_that_was_heard_is_not_told_again(seen: Any) -> None:
    told = Told(seen)
    told.report(1, 7.0, 1)
    assert await told.retold() == [("a", 7.0), ("b", 2.0)]


@pytest.mark.anyio
async def test_a_change_on_its_way_while_we_read_goes_before(seen: Any) -> None:
    told = Told(seen)
    assert await told.retold(lambda: told.report(1, 7.0, 1)) == [("a", 7.0), ("b", 2.0)]


@pytest.mark.anyio
async def test_the_report_of_the_very_value_that_was_read_is_no_second_one(seen: Any) -> None:
    told = Told(seen)
    assert await told.retold() == [("a", 1.0), ("b", 2.0)]
    told.report(1, 1.0, 0)
    told.report(2, 5.0, 3)
    assert [(s.tag, s.value) for s in seen.all] == [("a", 1.0), ("b", 2.0), ("b", 5.0)]
