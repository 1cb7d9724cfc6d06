"""What happens on one connection, from CONNECT to its end? One object per connection; one thread runs it."""

from __future__ import annotations

import contextlib
import logging
import select
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edge_agent.clock import Clock
from edge_agent.errors import PlantError
from edge_agent.mqtt.acks import Acks
from edge_agent.mqtt.client import Version, connect, make
from edge_agent.mqtt.frames import Malformed, Message, Slicer
from edge_agent.mqtt.outgoing import Done, Limits, Outgoing, limits_of
from edge_agent.mqtt.settings import Broker
from edge_agent.mqtt.wire import Wire, attach

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

_CONNACK, _PUBACK = 0x20, 0x40
_BACKLOG = 1 << 20  # bytes: a broker that does not read that much from us is stuck
_TOPICS_A_PACKET = 100
_SUBACK_S = 10.0
_MISC_S = 0.5
_STOCK_READS = 100


class LinkLost(PlantError):
    """The connection ended, or did not come about."""


class Refused(LinkLost):
    """The broker answered CONNECT with no."""


class OldBroker(LinkLost):
    """The broker does not speak MQTT 5."""


class Handler(Protocol):
    """Who is told, on the connection's thread. None of these may block."""

    def received(self, messages: Sequence[Message], committed: Callable[[], None] | None, wall_ns: int, mono_ns: int) -> None: ...

    def linked(self, limits: Limits) -> None: ...

    def subscribed(self, topic: str, granted: int | None, reason: str) -> None:
        """`granted` is None where the broker refused."""


class Link:
    """One connection."""

    def __init__(self, broker: Broker, client_id: str, version: Version, *, handler: Handler, clock: Clock, wake: Wake) -> None:
        self._broker, self._version, self._handler, self._clock, self._wake = broker, version, handler, clock, wake
        self._client: Client = make(broker, client_id, version)
        self._slicer = Slicer(v5=version == 5, limit=int(broker.max_payload))
        self._acks = Acks(wake.ring)
        self._wire: Wire | None = None
        self._poll = select.poll()
        self._poll.register(wake.fileno(), select.POLLIN)
        self._watched = (-1, 0)
        self._inbox: list[Message] = []  # what paho's own reading delivered
        self._outgoing = Outgoing(self._client, version)
        self._asked: dict[int, tuple[Sequence[str], float]] = {}  # SUBSCRIBE in flight: topics, deadline
        self._ended = ""
        self._opened_s = self._misc_s = 0.0
        self.limits: Limits | None = None
        self.counts = {"messages": 0, "bytes": 0, "again": 0, "handler_errors": 0}

    # ---- life

    def open(self, *, bulk: bool) -> None:
        """Connect the socket and send CONNECT. LinkLost where that fails."""
        c = self._client
        c.on_connect, c.on_disconnect, c.on_message = self._on_connect, self._on_disconnect, self._on_message
        c.on_subscribe, c.on_publish = self._on_subscribe, self._on_publish
        try:
            connect(c, self._broker, self._version)
        except (OSError, ValueError) as e:
            raise LinkLost(f"{self._broker.host}:{self._broker.port}: {_plain(e)}") from e
        self._opened_s = self._misc_s = self._now_s()
        if bulk and (raw := c.socket()) is not None:
            self._wire = Wire(raw)  # type: ignore[arg-type]
            attach(c, self._wire)

    def turn(self, timeout_s: float | None) -> None:
        """Wait for bytes or a wake-up (None: whoever calls has seen them come), handle them. LinkLost at the end of the connection."""
        sock = self._client.socket()
        if sock is None:
            raise LinkLost(self._ended or "the connection was closed")
        try:
            if (timeout_s is None or self._wait(sock, timeout_s)) and (messages := self._read()):
                self._deliver(messages)
            self._answer()
            self._look_after()
        except (OSError, ValueError, Malformed) as e:
            raise LinkLost(_plain(e)) from e
        if self._client.socket() is None:
            raise LinkLost(self._ended or "the connection was closed")

    def close(self, reason: str) -> None:
        """Leave: with DISCONNECT where the link is up. What was written and not acknowledged is unknown."""
        with contextlib.suppress(OSError, ValueError):
            if self._client.socket() is not None and self.limits is not None:
                self._answer()
                self._client.disconnect()
                self._client.loop_write()
                if self._wire is not None:
                    self._wire.flush()
        if self._wire is not None:
            self._wire.close()
        elif (sock := self._client.socket()) is not None:
            sock.close()
        self._outgoing.lost(reason)

    @property
    def bulk(self) -> bool:
        """Whether we read ourselves, many messages at once."""
        return self._wire is not None

    @property
    def more(self) -> bool:
        """Whether there is more to read than one turn takes, or bytes that no poll would tell of."""
        return self._wire is not None and self._wire.more

    @property
    def backlog(self) -> int:
        """Bytes that the socket has not taken."""
        return self._wire.backlog if self._wire is not None else 0

    def fileno(self) -> int:
        """The socket's descriptor. LinkLost if it is closed."""
        sock = self._client.socket()
        if sock is None or sock.fileno() < 0:
            raise LinkLost(self._ended or "the connection was closed")
        return int(sock.fileno())

    @property
    def waiting(self) -> int:
        """Messages not acknowledged yet."""
        return self._acks.waiting

    # ---- what we ask of the broker

    def subscribe(self, topics: Mapping[str, int]) -> None:
        """Ask for topics; `Handler.subscribed` hears the answer for each."""
        names = list(topics)
        for i in range(0, len(names), _TOPICS_A_PACKET):
            some = names[i : i + _TOPICS_A_PACKET]
            _, mid = self._client.subscribe([(topic, topics[topic]) for topic in some])
            if mid is not None:
                self._asked[mid] = (some, self._now_s() + _SUBACK_S)

    def unsubscribe(self, topics: Sequence[str]) -> None:
        for i in range(0, len(topics), _TOPICS_A_PACKET):
            self._client.unsubscribe(list(topics[i : i + _TOPICS_A_PACKET]))

    def publish(self, topic: str, payload: bytes, expiry_s: float, done: Done) -> None:
        """Send a command now or refuse it: QoS 1, not retained."""
        if self._wire is not None:
            with contextlib.suppress(OSError):  # a broken connection shows itself at the next turn
                self._wire.flush()  # a ping may wait for its turn: that is no stuck link
        if self.limits is None or self._client.socket() is None:
            done("refused", "no link")
        elif self._wire is not None and self._wire.backlog:
            done("refused", f"the link is stuck ({self._wire.backlog} bytes wait)")
        else:
            self._outgoing.publish(topic, payload, expiry_s, limits=self.limits, done=done)

    # ---- one turn

    def _wait(self, sock: Any, timeout_s: float) -> bool:
        """Whether there may be something to read."""
        wire = self._wire
        more = wire.more if wire is not None else bool(getattr(sock, "pending", int)())
        writing = bool(wire.backlog) if wire is not None else self._client.want_write()
        self._watch(sock.fileno(), select.POLLIN | (select.POLLOUT if writing else 0))
        for fd, _ in self._poll.poll(0 if more else timeout_s * 1000):
            if fd == self._wake.fileno():
                self._wake.hush()
            else:
                more = True
        return more

    def _watch(self, fd: int, events: int) -> None:
        if self._watched != (fd, events):
            if fd < 0:
                raise LinkLost(self._ended or "the connection was closed")
            self._poll.register(fd, events)
            self._watched = (fd, events)

    def _read(self) -> Sequence[Message]:
        if self._wire is None:
            self._read_stock()
            messages: list[Message] = []
        else:
            data = self._wire.receive()
            self.counts["bytes"] += len(data)
            messages, control = self._slicer.feed(data)
            for packet in control:
                self._paho_reads(self._wire, packet)
        if self._inbox:
            messages = self._inbox + messages
            self._inbox = []
        return messages

    def _read_stock(self) -> None:
        """paho takes one packet a call: several calls a turn, as long as messages come out."""
        for count in range(_STOCK_READS):
            self._check(self._client.loop_read())
            if len(self._inbox) <= count or self._client.socket() is None:
                return

    def _paho_reads(self, wire: Wire, packet: bytes) -> None:
        if self.limits is None and self._version == 5 and packet[0] & 0xF0 == _CONNACK and len(packet) == 4:
            raise OldBroker("the broker answers in MQTT 3.1.1")  # MQTT 5.0's CONNACK has a third byte (3.2.2)
        wire.feed(packet)
        for _ in range(200):  # paho may take a long packet in several looks
            self._check(self._client.loop_read())
            if not wire.fed or self._client.socket() is None:
                return

    def _check(self, code: int) -> None:
        if code:
            from paho.mqtt.client import error_string

            raise LinkLost(self._ended or error_string(code))

    def _deliver(self, messages: Sequence[Message]) -> None:
        self.counts["messages"] += len(messages)
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        mids = [message.mid for message in messages if message.mid]
        committed = self._acks.open(mids, mono_ns) if mids else None
        if mids:  # without QoS nothing comes twice
            self.counts["again"] += sum(1 for message in messages if message.dup)
        try:
            self._handler.received(messages, committed, wall_ns, mono_ns)
        except Exception:
            # a defect of ours, not the broker's: said once, counted; not acknowledged, so the broker sends it again later
            if not self.counts["handler_errors"]:
                log.exception("messages could not be handed over")
            self.counts["handler_errors"] += 1

    def _answer(self) -> None:
        """Acknowledge what is due, and send everything that waits."""
        mids = self._acks.due()
        wire = self._wire
        if wire is None:
            for mid in mids:
                self._client.ack(mid, 1)
        elif mids:
            wire.write(struct.pack(f">{len(mids)}I", *[_PUBACK << 24 | 2 << 16 | mid for mid in mids]))
        if self._client.want_write():
            self._check(self._client.loop_write())
        if wire is not None:
            wire.flush()
            if wire.backlog > _BACKLOG:
                raise LinkLost(f"the broker does not read: {wire.backlog} bytes wait")

    def _look_after(self) -> None:
        now = self._now_s()
        if now - self._misc_s < _MISC_S:
            return
        self._misc_s = now
        self._check(self._client.loop_misc())
        if self.limits is None and now - self._opened_s > self._broker.connect_timeout:
            raise LinkLost(f"no answer to CONNECT within {self._broker.connect_timeout:g} s")
        if any(now > deadline for _, deadline in self._asked.values()):
            raise LinkLost(f"no answer to SUBSCRIBE within {_SUBACK_S:g} s")
        oldest = self._acks.oldest_ns()
        if oldest is not None and self._clock.mono_ns() - oldest > self._broker.commit_timeout * 1e9:
            raise LinkLost(f"{self.waiting} messages were not stored within {self._broker.commit_timeout:g} s: asking for them again")

    def _now_s(self) -> float:
        return self._clock.mono_ns() / 1e9

    # ---- paho's callbacks

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            old = self._version == 5 and reason.value == 0x84
            self._ended = f"the broker refuses: {reason}"
            raise (OldBroker if old else Refused)(self._ended)
        self.limits = limits_of(self._version, bool(flags.session_present), properties)
        self._handler.linked(self.limits)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        by = "the broker ends the connection" if flags.is_disconnect_packet_from_server else "connection lost"
        self._ended = self._ended or f"{by}: {reason}"

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        """Only with paho's own reading, and for QoS 2, which we never ask for: then it is acknowledged at once."""
        if message.qos == 2:
            client.ack(message.mid, 2)
        too_large = len(message.payload) > self._broker.max_payload
        payload = None if too_large else bytes(message.payload)
        mid = message.mid if message.qos == 1 else 0
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b""  # matches no tag
        self._inbox.append(Message(topic, payload, mid, int(message.retain), int(message.dup)))

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        topics, _ = self._asked.pop(mid, ((), 0.0))
        for topic, reason in zip(topics, reasons, strict=False):
            self._handler.subscribed(topic, None if reason.value >= 0x80 else reason.value, str(reason))

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._outgoing.answered(mid, reason)


class Wake(Protocol):
    """A bell that ends a poll."""

    def ring(self) -> None: ...
    def hush(self) -> None: ...
    def fileno(self) -> int: ...


def _plain(error: Exception) -> str:
    """An error in words: TLS errors hide theirs in `reason` and `verify_message`."""
    verify = getattr(error, "verify_message", None)
    return f"the broker's certificate is not trusted: {verify}" if verify else str(error) or type(error).__name__
