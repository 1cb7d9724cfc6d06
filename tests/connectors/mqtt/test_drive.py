"""Is a link turned as bytes come, looked after while nothing comes, and does its end reach whoever waits for it?"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from edge_agent.mqtt.drive import Drive
from edge_agent.mqtt.link import LinkLost
from edge_agent.mqtt.session import Bell

pytestmark = pytest.mark.anyio


@dataclass
class FakeLink:
    """Reads what the other end of a socket pair wrote."""

    sock: socket.socket
    read: list[bytes] = field(default_factory=list)
    turns: int = 0
    backlog: int = 0
    more: bool = False
    turned: asyncio.Event = field(default_factory=asyncio.Event)

    def fileno(self) -> int:
        return self.sock.fileno()

    def turn(self, timeout_s: float | None) -> None:
        self.turns += 1
        self.turned.set()
        try:
            data = self.sock.recv(4)
        except BlockingIOError:
            return
        if not data:
            raise LinkLost("the other end is gone")
        self.read.append(data)
        self.more = len(data) == 4


@dataclass
class Rig:
    link: FakeLink
    plant: socket.socket
    bell: Bell
    stop: threading.Event
    after: int = 0

    async def turned(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not what():
                self.link.turned.clear()
                await self.link.turned.wait()


@contextmanager
def driven(pause_s: float = 0.0) -> Iterator[tuple[Rig, asyncio.Future[None]]]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    bell = Bell()
    rig = Rig(FakeLink(ours), theirs, bell, threading.Event())

    def after() -> None:
        rig.after += 1
        bell.hush()

    drive = Drive(loop, rig.link, bell=bell.fileno(), pause_s=pause_s, after=after)
    ended = loop.run_in_executor(None, drive.run, rig.stop.is_set)
    try:
        yield rig, ended
    finally:
        rig.stop.set()
        bell.ring()
        ours.close()
        theirs.close()
        bell.close()


async def test_bytes_are_read_as_they_come_and_the_rest_without_another_poll() -> None:
    with driven() as (rig, ended):
        rig.plant.send(b"aaaabbbbcc")
        await rig.turned(lambda: len(rig.link.read) == 3)
        assert rig.link.read == [b"aaaa", b"bbbb", b"cc"]
        assert rig.after >= 3
        rig.stop.set()
        rig.bell.ring()
        await asyncio.wait_for(ended, 10)


async def test_a_bell_is_a_turn() -> None:
    with driven() as (rig, ended):
        await rig.turned(lambda: rig.link.turns == 1)
        rig.bell.ring()
        await rig.turned(lambda: rig.link.turns >= 2)
        rig.stop.set()
        rig.bell.ring()
        await asyncio.wait_for(ended, 10)


async def test_a_silent_link_is_looked_after() -> None:
    with driven() as (rig, ended):
        await rig.turned(lambda: rig.link.turns >= 3)
        rig.stop.set()
        rig.bell.ring()
        await asyncio.wait_for(ended, 10)


async def test_what_cannot_be_sent_at_once_is_sent_as_soon_as_it_can() -> None:
    with driven() as (rig, ended):
        rig.link.backlog = 5
        rig.bell.ring()
        await rig.turned(lambda: rig.link.turns >= 5)  # writable: turned again and again while something waits
        rig.link.backlog = 0
        rig.stop.set()
        rig.bell.ring()
        await asyncio.wait_for(ended, 10)


async def test_the_end_of_a_link_is_raised_to_the_thread_that_waits() -> None:
    with driven() as (rig, ended):
        rig.plant.close()
        with pytest.raises(LinkLost, match="the other end is gone"):
            await asyncio.wait_for(ended, 10)
        turns = rig.link.turns
        rig.bell.ring()
        await asyncio.sleep(0)
        assert rig.link.turns == turns


async def test_bytes_gather_where_that_is_wanted() -> None:
    with driven(pause_s=0.05) as (rig, ended):
        await rig.turned(lambda: rig.link.turns >= 1)
        rig.plant.send(b"a")
        rig.plant.send(b"b")
        await rig.turned(lambda: bool(rig.link.read))
        assert rig.link.read == [b"ab"]
        rig.stop.set()
        rig.bell.ring()
        await asyncio.wait_for(ended, 10)
