"""How is a paho client made from the settings? One fresh client per connection: nothing waits in it across an outage."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_agent.mqtt.settings import Broker

if TYPE_CHECKING:
    from paho.mqtt.client import Client

Version = Literal[5, "3.1.1"]


def make(broker: Broker, client_id: str, version: Version) -> Client:
    """A client that is not connected yet."""
    from paho.mqtt.client import Client as Paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    client = Paho(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if version == 5 else False,
        protocol=MQTTProtocolVersion.MQTTv5 if version == 5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,  # the session reconnects; paho's own would fall back to MQTT 3.1 in silence
        manual_ack=True,
    )
    client.connect_timeout = broker.connect_timeout
    client.max_inflight_messages = 0  # nothing queues: a command is sent now or refused
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password.get_secret_value() if broker.password else None)
    if broker.encrypted:
        client.tls_set_context(_tls(broker))
    return client


def connect(client: Client, broker: Broker, version: Version) -> None:
    """Open the socket and send CONNECT. OSError where that is not possible."""
    keep_alive = math.ceil(broker.keep_alive)
    if version == 5:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(math.ceil(broker.session_expiry), 0xFFFFFFFF)
        properties.ReceiveMaximum = broker.receive_maximum
        client.connect(broker.host, broker.port, keep_alive, clean_start=False, properties=properties)
    else:
        client.connect(broker.host, broker.port, keep_alive)
    _tune(client.socket(), keep_alive)


def _tls(broker: Broker) -> ssl.SSLContext:
    """Made anew for each connection, so that renewed certificates are used without a restart."""
    for file in (broker.tls.ca, broker.tls.certificate, broker.tls.key):
        if file is not None:
            Path(file).open("rb").close()  # ssl's own error does not name the file
    context = ssl.create_default_context(cafile=broker.tls.ca)
    if broker.tls.certificate is not None:
        context.load_cert_chain(broker.tls.certificate, broker.tls.key)
    return context


def _tune(sock: object, keep_alive_s: int) -> None:
    """Small packets leave at once; a peer that takes nothing for two keep-alives is gone."""
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, keep_alive_s * 2000)
