"""A sink that remembers, and asyncua's own server in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from edge_agent.messages import Gap, LinkState, Sample


class Seen:
    """A sink that remembers everything, and wakes who waits."""

    def __init__(self) -> None:
        self.all: list[Sample] = []
        self.gaps: list[Gap] = []
        self.links: list[LinkState] = []
        self.alives = 0
        self.commit = True  # whether batches are committed at once
        self.uncommitted: list[Callable[[], None]] = []
        self._news = asyncio.Event()

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        self.all += batch
        if committed is not None and self.commit:
            committed()
        elif committed is not None:
            self.uncommitted.append(committed)
        self._news.set()

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._news.set()

    def link(self, state: LinkState) -> None:
        self.links.append(state)
        self._news.set()

    def alive(self, connector: str, mono_ns: int) -> None:
        self.alives += 1
        self._news.set()

    def of(self, tag: str) -> list[Sample]:
        return [s for s in self.all if s.tag == tag]

    async def until(self, found: Callable[[], Any], timeout_s: float = 15.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not found():
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def seen() -> Seen:
    return Seen()


class EmbeddedServer:
    """asyncua's own server: one changing variable, one setpoint, in namespace urn:plant."""

    def __init__(self, port: int) -> None:
        self.url = f"opc.tcp://127.0.0.1:{port}"
        self._up, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(20), "asyncua's server did not start"

    def stop(self) -> None:
        self._end.set()
        self._thread.join(20)

    async def _serve(self) -> None:
        from asyncua import Server, ua

        server = Server()
        await server.init()
        server.set_endpoint(self.url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace("urn:plant")
        counter = await server.nodes.objects.add_variable(ua.NodeId("Counter", index), "Counter", 0, ua.VariantType.UInt32)
        setpoint = await server.nodes.objects.add_variable(ua.NodeId("Setpoint", index), "Setpoint", 1.5)
        await setpoint.set_writable()
        async with server:
            self._up.set()
            count = 0
            while not self._end.is_set():
                count += 1
                await counter.write_value(count, ua.VariantType.UInt32)
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def embedded_server() -> Iterator[str]:
    """Its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = EmbeddedServer(port)
    server.start()
    yield server.url
    server.stop()
