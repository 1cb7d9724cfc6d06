"""Which commands wait for the broker's answer on this connection, and what may be sent at all? QoS 1, never retained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.mqtt.client import Version

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_MAX_WAITING = 16
_OVERHEAD = 32  # bytes of a PUBLISH beside topic and payload, at most
_NOBODY = 0x10  # MQTT 5.0, 3.4.2.1: no matching subscribers

Done = Callable[[Literal["good", "refused", "unknown"], str], None]
"""Called once, on any thread, with what became of a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the broker said in its CONNACK."""

    version: Version
    session_present: bool
    max_packet: int | None = None
    max_qos: int = 2
    receive_maximum: int = 65535
    session_expiry_s: int | None = None
    wildcards: bool = True


def limits_of(version: Version, session_present: bool, properties: Any) -> Limits:
    said = {} if properties is None else vars(properties)
    return Limits(
        version=version,
        session_present=session_present,
        max_packet=said.get("MaximumPacketSize"),
        max_qos=said.get("MaximumQoS", 2),
        receive_maximum=said.get("ReceiveMaximum", 65535),
        session_expiry_s=said.get("SessionExpiryInterval"),
        wildcards=bool(said.get("WildcardSubscriptionAvailable", 1)),
    )


class Outgoing:
    """The commands of one connection. They die with it: nothing is sent again on the next one."""

    def __init__(self, client: Client, version: Version) -> None:
        self._client, self._version = client, version
        self._waiting: dict[int, Done] = {}

    def publish(self, topic: str, payload: bytes, expiry_s: float, *, limits: Limits, done: Done) -> None:
        """Send now, or refuse."""
        if reason := self._cannot(len(payload) + len(topic.encode()) + _OVERHEAD, limits):
            done("refused", reason)
            return
        info = self._client.publish(topic, payload, qos=1, retain=False, properties=self._expiring(expiry_s))
        if info.rc != 0:
            done("refused", f"paho: code {info.rc}")
        else:
            self._waiting[info.mid] = done

    def answered(self, mid: int, reason: Any) -> None:
        """A PUBACK came."""
        done = self._waiting.pop(mid, None)
        if done is None:
            return
        if reason.value == _NOBODY:
            done("refused", "nobody is subscribed to the command's topic")
        else:
            done("refused" if reason.is_failure else "good", str(reason))

    def lost(self, reason: str) -> None:
        """The connection ended: whether the broker had these commands, nobody knows."""
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done("unknown", f"link lost before the broker answered: {reason}")

    def _cannot(self, size: int, limits: Limits) -> str:
        if len(self._waiting) >= min(limits.receive_maximum, _MAX_WAITING):
            return f"{len(self._waiting)} commands already wait for the broker's answer"
        if limits.max_qos < 1:
            return "the broker has no QoS 1"
        if limits.max_packet is not None and size > limits.max_packet:
            return f"the broker takes packets of at most {limits.max_packet} bytes"
        return ""

    def _expiring(self, expiry_s: float) -> Any:
        if self._version != 5:
            return None
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = max(1, int(expiry_s))
        return properties
