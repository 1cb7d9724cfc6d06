"""Which MQTT packets are in these bytes? Pure: bytes in, messages and control frames out; no socket, no clock."""

from __future__ import annotations

from typing import NamedTuple

_PUBLISH = 0x30
_QOS = 0x06
_QOS2 = 0x04
_DUP = 0x08
_LONGEST_CONTROL = 1 << 20  # a SUBACK for every topic of a large plant is some kB


class Message(NamedTuple):
    """A PUBLISH of QoS 0 or 1. `payload` is None where it was larger than allowed and has been skipped."""

    topic: bytes
    payload: bytes | None
    mid: int  # 0: QoS 0, nothing to acknowledge
    retained: int
    dup: int = 0


class Malformed(Exception):
    """The peer broke the protocol; the connection cannot be used any more."""


class Slicer:
    """Cuts a byte stream into packets. Keeps what is incomplete; never more than `limit` bytes of payload."""

    def __init__(self, *, v5: bool, limit: int) -> None:
        self._v5, self._limit = v5, limit
        self._tail = bytearray()
        self._need = 0  # bytes that the tail must hold before another look is worth it
        self._skip = 0  # bytes of an oversized payload still to come

    def feed(self, chunk: bytes) -> tuple[list[Message], list[bytes]]:
        """Messages, and every other packet as its bytes (QoS 2 among them: paho keeps that state)."""
        if self._skip:
            skipped = min(self._skip, len(chunk))
            self._skip -= skipped
            chunk = chunk[skipped:]
        if self._tail:
            self._tail += chunk
            if len(self._tail) < self._need:
                return [], []
            chunk = bytes(self._tail)
            self._tail.clear()
        return self._cut(chunk)

    def _cut(self, data: bytes) -> tuple[list[Message], list[bytes]]:
        messages: list[Message] = []
        control: list[bytes] = []
        pos, end = 0, len(data)
        self._need = 0
        while end - pos >= 2:
            head, length, body = data[pos], data[pos + 1], pos + 2
            if length & 0x80:
                length, body = _varint(data, pos + 1, end)
                if not body:
                    break
            stop = body + length
            publish = head & 0xF0 == _PUBLISH and head & _QOS != _QOS2
            if stop > end:
                if not (publish and self._oversized(data, head, (body, end, stop), messages)):
                    self._await(length, stop - pos, publish=publish)
                    break
                pos = end
            elif publish:
                messages.append(self._message(data, head, body, stop))
                pos = stop
            else:
                control.append(data[pos:stop])
                pos = stop
        if pos < end:
            self._tail += data[pos:]
        return messages, control

    def _message(self, data: bytes, head: int, body: int, stop: int) -> Message:
        header = self._header(data, head, body, stop)
        if header is None or header[2] > stop:
            raise Malformed("a PUBLISH shorter than its own header")
        topic, mid, start = header
        return Message(topic, data[start:stop] if stop - start <= self._limit else None, mid, head & 1, head & _DUP)

    def _oversized(self, data: bytes, head: int, place: tuple[int, int, int], messages: list[Message]) -> bool:
        """Whether this incomplete PUBLISH is too large already: then it is reported and its rest will be skipped."""
        body, end, stop = place
        header = self._header(data, head, body, end) if stop - body > self._limit else None
        if header is None or stop - header[2] <= self._limit:
            return False
        messages.append(Message(header[0], None, header[1], head & 1, head & _DUP))
        self._skip = stop - end
        return True

    def _await(self, length: int, whole: int, *, publish: bool) -> None:
        """Wait for the rest of a packet; where its header is still to come, any byte is worth another look."""
        if not publish and length > max(_LONGEST_CONTROL, self._limit):
            raise Malformed(f"a control packet of {length} bytes")
        self._need = whole if length <= self._limit or not publish else 0

    def _header(self, data: bytes, head: int, body: int, end: int) -> tuple[bytes, int, int] | None:
        """Topic, packet identifier, start of the payload; None while they are not complete at `end`."""
        if end - body < 2:
            return None
        at = body + 2 + (data[body] << 8 | data[body + 1])
        if at > end:
            return None
        topic, mid = data[body + 2 : at], 0
        if head & _QOS:
            if at + 2 > end:
                return None
            mid = data[at] << 8 | data[at + 1]
            at += 2
            if not mid or head & _QOS == _QOS:
                raise Malformed("a PUBLISH with QoS 3 or packet identifier 0")
        if self._v5:
            length, at = _varint(data, at, end)
            if not at:
                return None
            at += length
        return topic, mid, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """MQTT's variable byte integer (MQTT 5.0, 1.5.5): value and the place after it; place 0 while incomplete."""
    value = shift = 0
    while at < end:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 21:
            raise Malformed("a length of more than four bytes")
    return 0, 0
