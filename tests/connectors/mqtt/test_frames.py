import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.mqtt.frames import Malformed, Message, Slicer

PINGRESP, SUBACK = b"\xd0\x00", b"\x90\x03\x00\x01\x01"


def length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def publish(
    topic: bytes, payload: bytes, *, qos: int = 0, mid: int = 1, retain: bool = False, v5: bool = False, properties: bytes = b""
) -> bytes:
    body = struct.pack(">H", len(topic)) + topic + (struct.pack(">H", mid) if qos else b"")
    body += length(len(properties)) + properties if v5 else b""
    return bytes([0x30 | qos << 1 | retain]) + length(len(body) + len(payload)) + body + payload


def cut(data: bytes, sizes: list[int], *, v5: bool = False, limit: int = 1000) -> tuple[list[Message], list[bytes]]:
    slicer = Slicer(v5=v5, limit=limit)
    messages: list[Message] = []
    control: list[bytes] = []
    at, i = 0, 0
    while at < len(data):
        size = sizes[i % len(sizes)]
        some, other = slicer.feed(data[at : at + size])
        messages += some
        control += other
        at, i = at + size, i + 1
    return messages, control


def test_messages_and_other_packets_are_told_apart() -> None:
    data = publish(b"a", b"1") + SUBACK + publish(b"b/c", b"2", qos=1, mid=7, retain=True) + PINGRESP
    assert cut(data, [len(data)]) == ([Message(b"a", b"1", 0, 0), Message(b"b/c", b"2", 7, 1)], [SUBACK, PINGRESP])


def test_a_qos_2_message_is_left_to_paho() -> None:
    frame = publish(b"a", b"1", qos=2)
    assert cut(frame, [100]) == ([], [frame])


def test_mqtt_5_properties_are_skipped() -> None:
    expiry = b"\x02\x00\x00\x00\x05" + b"\x26\x00\x01k\x00\x01v" * 20
    assert cut(publish(b"a", b"xyz", qos=1, v5=True, properties=expiry), [100], v5=True)[0] == [Message(b"a", b"xyz", 1, 0)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=400), st.integers(0, 1), st.booleans()), max_size=8),
    st.lists(st.integers(1, 500), min_size=1, max_size=6),
    st.booleans(),
)
def test_the_cuts_of_the_stream_do_not_matter(parts: list[tuple[bytes, bytes, int, bool]], sizes: list[int], v5: bool) -> None:
    data, expected = b"", []
    for i, (topic, payload, qos, ping) in enumerate(parts):
        data += publish(topic, payload, qos=qos, mid=i + 1, v5=v5, properties=b"\x01\x01" if v5 else b"") + (PINGRESP if ping else b"")
        expected.append(Message(topic, payload if len(payload) <= 200 else None, i + 1 if qos else 0, 0))
    messages, control = cut(data, sizes, v5=v5, limit=200)
    assert messages == expected
    assert control == [PINGRESP] * sum(ping for *_, ping in parts)


@pytest.mark.parametrize("v5", [False, True])
def test_an_oversized_payload_is_reported_and_never_held(v5: bool) -> None:
    data = publish(b"big", bytes(2_000_000), qos=1, mid=9, v5=v5) + publish(b"a", b"1", v5=v5)
    slicer = Slicer(v5=v5, limit=1000)
    messages = []
    for at in range(0, len(data), 4096):
        messages += slicer.feed(data[at : at + 4096])[0]
        assert len(slicer._tail) <= 4096
    assert messages == [Message(b"big", None, 9, 0), Message(b"a", b"1", 0, 0)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\x03\x00\x09a",
        b"\x30\x01\x00",
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x90\xff\xff\xff\x7f",
    ],
)
def test_a_broken_packet_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        cut(data, [100])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 50), min_size=1, max_size=4), st.booleans())
def test_noise_is_malformed_or_cut_but_never_anything_else(data: bytes, sizes: list[int], v5: bool) -> None:
    try:
        messages, control = cut(data, sizes, v5=v5)
    except Malformed:
        return
    assert sum(len(m.payload or b"") for m in messages) + sum(map(len, control)) <= len(data)
