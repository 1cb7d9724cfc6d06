"""What can a network do to a connection? A TCP relay on a thread of its own that does it when told."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

Cut = Literal["hold", "forget", "deaf", "reset", "refuse", "slow", "dribble"]
LOSSLESS: tuple[Cut, ...] = ("slow", "dribble")  # nothing is cut, all is late
CUTS: tuple[Cut, ...] = ("hold", "forget", "deaf", "reset", "refuse", *LOSSLESS)
"""hold: nothing passes either way, and nothing is lost once it passes again (a cable is pulled; TCP sends anew).
forget: the same, but connections that were open never hear anything again (a firewall lost its table).
deaf: what we say arrives, what is answered does not.    reset: everything ends with RST; what comes is reset too.
refuse: everything ends with FIN; what comes is closed at once.    slow: 8 kB/s, 50-300 ms late.    dribble: pieces of 1 to 7 bytes.
A relay can neither drop nor reorder packets: fault_netns.py has real cables."""
_RATE = 8000.0  # bytes a second, "64 kbit/s"


class Wire:
    """`with Wire(target_port) as wire:` connect to `wire.port`. Every method may be called from any thread."""

    def __init__(self, target: int, listener: socket.socket | None = None) -> None:
        """`listener`: a socket that listens somewhere else, in another network namespace for one."""
        self.target = target
        self.bytes = 0  # that passed
        self.connections = 0  # that were accepted
        self._cut: Cut | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._doomed: set[asyncio.StreamWriter] = set()
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"wire-{self.port}", daemon=True)

    def __enter__(self) -> Wire:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self, how: Cut) -> None:
        """From now on the network does this."""

        async def act() -> None:
            self._cut = how
            if how == "forget":
                self._doomed |= self._ends
            if how in ("reset", "refuse"):
                self._end_all(rst=how == "reset")

        self._do(act)

    def heal(self) -> None:
        """From now on all passes again."""

        async def act() -> None:
            self._cut = None
            self._whole.set()
            self._whole = asyncio.Event()

        self._do(act)

    # ------------------------------------------------------------ on the thread

    def _run(self) -> None:
        self._loop.run_forever()

    def _do(self, act: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(act(), self._loop).result(10)

    async def _listen(self) -> None:
        self._whole = asyncio.Event()
        self._server = await asyncio.start_server(self._relay, sock=self._listener)

    async def _close(self) -> None:
        self._server.close()
        self._end_all(rst=True)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end_all(self, *, rst: bool) -> None:
        for end in self._ends:
            _end(end, rst=rst)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._cut in ("reset", "refuse"):
            _end(writer, rst=self._cut == "reset")
            return
        self._ends.add(writer)
        while self._cut in ("hold", "forget", "deaf"):  # its SYN is sent again until it gets through
            await self._whole.wait()
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _end(writer, rst=True)
            return
        self._ends.add(far)
        try:
            with suppress(asyncio.CancelledError):  # asyncio logs a cancelled connection as an error
                await asyncio.gather(self._copy(reader, far, answers=False), self._copy(far_reader, writer, answers=True))
        finally:
            for end in (writer, far):
                self._ends.discard(end)
                if end not in self._doomed:
                    _end(end, rst=False)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                while target in self._doomed or self._cut in ("hold", "forget") or (answers and self._cut == "deaf"):
                    await self._whole.wait()
                self.bytes += len(data)
                await self._send(target, data)
        target.close()

    async def _send(self, target: asyncio.StreamWriter, data: bytes) -> None:
        at = 0
        while at < len(data):
            cut = self._cut
            size = {"dribble": random.randint(1, 7), "slow": 800}.get(cut or "", len(data))
            piece = data[at : at + size]
            at += size
            if cut == "slow":
                await asyncio.sleep(len(piece) / _RATE + (random.uniform(0.05, 0.3) if at <= size else 0))
            target.write(piece)
            await target.drain()
            if cut == "dribble":
                await asyncio.sleep(0)


def _end(end: asyncio.StreamWriter, *, rst: bool) -> None:
    sock = end.get_extra_info("socket")
    if rst and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError, RuntimeError):
        end.close()
