"""What a link does with a command while something else waits to be sent."""

import socket
from typing import Any

from edge_agent.clock import ManualClock
from edge_agent.mqtt.link import Link
from edge_agent.mqtt.outgoing import Limits
from edge_agent.mqtt.settings import Broker
from edge_agent.mqtt.wire import Wire


class Bell:
    """A wake-up that nobody hears."""

    def __init__(self) -> None:
        self.ours, self._theirs = socket.socketpair()

    def fileno(self) -> int:
        return self.ours.fileno()

    def ring(self) -> None: ...


def test_a_ping_that_waits_for_its_turn_is_no_stuck_link() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    bell: Any = Bell()
    handler: Any = object()
    link = Link(Broker.model_validate({"url": "mqtt://localhost"}), "me", 5, handler=handler, clock=ManualClock(), wake=bell)
    link._client._sock = ours
    link._wire = Wire(ours)
    link.limits = Limits(version=5, session_present=False)
    link._wire.write(b"\xc0\x00")  # a PINGREQ
    said: list[str] = []
    link.publish("a", b"1", 1.0, lambda _, code: said.append(code))
    assert theirs.recv(100)[:2] == b"\xc0\x00"
    assert not any("stuck" in code for code in said)
    for end in (ours, theirs, bell.ours, bell._theirs):
        end.close()
