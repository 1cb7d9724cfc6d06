"""How do bytes get between paho and the socket? In large pieces: one `recv` for many packets, one `send` for many answers.

paho reads a packet with three system calls and more. Here we read; PUBLISH packets are ours (frames.py), every other packet
is fed to paho, which finds it through its ordinary `loop_read`. The only private thing touched is the attribute in which
paho keeps its socket; `fits` proves at start that this still works, else the connection reads the stock way.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

_CHUNK = 65536
_WANTS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """Stands where paho expects its (non-blocking) socket."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._pending = getattr(raw, "pending", None)
        self._inbox = bytearray()
        self._out = bytearray()
        self._quickack = getattr(socket, "TCP_QUICKACK", None) if raw.family in (socket.AF_INET, socket.AF_INET6) else None
        self.more = False  # bytes are waiting that no poll would tell of

    # ---- our side

    def receive(self) -> bytes:
        """What has come, b"" where nothing has. ConnectionResetError when the peer has closed."""
        try:
            data = self._raw.recv(_CHUNK)
        except _WANTS:
            self.more = False
            return b""
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        if self._quickack is not None:
            # Linux turns quick acknowledgement off by itself; without it the broker's Nagle waits 40 ms for us
            self._raw.setsockopt(socket.IPPROTO_TCP, self._quickack, 1)
        self.more = bool(self._pending()) if self._pending else len(data) == _CHUNK
        return data

    def feed(self, packet: bytes) -> None:
        """Let paho read this."""
        self._inbox += packet

    @property
    def fed(self) -> bool:
        """Whether paho has not yet read everything."""
        return bool(self._inbox)

    def write(self, data: bytes) -> None:
        self._out += data

    def flush(self) -> None:
        """Send as much as the socket takes."""
        while self._out:
            try:
                sent = self._raw.send(self._out)
            except _WANTS:
                return
            del self._out[:sent]

    @property
    def backlog(self) -> int:
        """Bytes that the socket has not taken."""
        return len(self._out)

    # ---- paho's side

    def recv(self, size: int) -> bytes:
        if not self._inbox:
            raise BlockingIOError
        data = bytes(self._inbox[:size])
        del self._inbox[:size]
        return data

    def send(self, data: bytes | bytearray) -> int:
        self._out += data
        return len(data)

    def fileno(self) -> int:
        return self._raw.fileno()

    def setblocking(self, flag: bool) -> None:
        self._raw.setblocking(flag)

    def pending(self) -> int:
        return len(self._inbox)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()
        self._raw.close()


def attach(client: Any, wire: Wire) -> bool:
    """Put the wire between paho's client and its socket; whether paho has taken it."""
    client._sock = wire
    return client.socket() is wire


def fits() -> bool:
    """Whether this paho reads and writes through a Wire: a CONNACK fed in must come out as on_connect, an ack must go out."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        try:
            return _connects(Wire(here)) and there.recv(16) == b"\x40\x02\x01\x02"
        except (AttributeError, TypeError, KeyError, ValueError, OSError):
            return False


def _connects(wire: Wire) -> bool:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    connected: list[object] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id="self-test", clean_session=False, manual_ack=True)
    client.on_connect = lambda *arguments: connected.append(arguments)
    if not attach(client, wire):
        return False
    wire.feed(b"\x20\x02\x00\x00")
    client.loop_read()
    client.ack(258, 1)
    wire.flush()
    return bool(connected) and not wire.fed
