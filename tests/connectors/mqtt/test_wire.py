import socket

import pytest

from edge_agent.mqtt.wire import Wire, fits


def test_this_paho_reads_through_a_wire() -> None:
    assert fits()


def test_a_closed_peer_is_an_error_and_an_empty_socket_is_not() -> None:
    here, there = socket.socketpair()
    with here:
        here.setblocking(False)
        wire = Wire(here)
        assert wire.receive() == b""
        there.send(b"abc")
        assert wire.receive() == b"abc"
        there.close()
        with pytest.raises(ConnectionResetError, match="closed"):
            wire.receive()


def test_what_the_socket_does_not_take_waits_in_order() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        wire = Wire(here)
        data = bytes(range(256)) * 8000
        wire.write(data)
        wire.flush()
        assert wire.backlog
        assert wire.send(b"end") == 3
        got = bytearray()
        while wire.backlog or len(got) < len(data) + 3:
            got += there.recv(1 << 20)
            wire.flush()
        assert bytes(got) == data + b"end"


def test_paho_gets_what_it_was_fed_and_no_more() -> None:
    here, there = socket.socketpair()
    with here, there:
        wire = Wire(here)
        wire.feed(b"abcd")
        assert (wire.recv(1), wire.recv(100), wire.fed) == (b"a", b"bcd", False)
        with pytest.raises(BlockingIOError):
            wire.recv(1)
