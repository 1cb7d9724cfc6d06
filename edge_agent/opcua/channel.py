"""One socket, one secure channel, one session: how is it opened, taken up again, asked, and closed?

asyncua does the encoding, the cryptography and the handshakes; its own supervision, reconnecting and subscriptions are
not used. A Channel is used once and thrown away. What is leaned on inside asyncua is held by
tests/connectors/opcua/test_channel.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography import x509

from edge_agent.errors import PlantError
from edge_agent.opcua import security
from edge_agent.opcua.options import Options
from edge_agent.opcua.security import Identity

_Answer = TypeVar("_Answer")
_CLOSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What it takes to go on with a session on a new channel (OPC 10000-4, 6.7)."""

    token: Any
    nonce: bytes | None
    policies: Any


def hush() -> None:
    """asyncua logs a traceback a second while a server is down, and requests (with passwords) at DEBUG; we report state ourselves."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)


class Channel:
    """A connection to the server. Every await in it ends: with an answer, TimeoutError, OSError or ua.UaError."""

    def __init__(self, options: Options, identity: Identity, server: x509.Certificate | None) -> None:
        from asyncua import Client

        self._options = options
        self._client = client = Client(options.url, timeout=options.request_s)
        client.name = client.description = f"edge-agent {options.agent}"
        client.application_uri = identity.application_uri or options.application_uri
        client.session_timeout = round(options.session_s * 1000)
        client.user_certificate, client.user_private_key = identity.user_certificate, identity.user_key
        if server is not None:
            security.protect(client, options.security, identity, server)

    # ------------------------------------------------------------ opening

    async def open(self) -> None:
        """Socket and secure channel."""
        try:
            await self._client.connect_socket()
            await self._client.send_hello()
            await self._client.open_secure_channel()
        except TimeoutError as e:
            raise TimeoutError(f"the server did not open a channel within {self._options.request_s:g} s") from e
        except AssertionError as e:  # how asyncua shows that the server refused our certificate
            raise PlantError("the server refused our certificate; make the server trust it") from e

    async def create_session(self) -> None:
        """A new session, logged in."""
        await self._client.create_session()
        await self._activate()

    async def resume_session(self, session: Session) -> None:
        """The session of an earlier channel, logged in again."""
        client = self._client
        client.uaclient.session.restore_authentication_token(session.token)
        client._server_nonce, client._policy_ids = session.nonce, session.policies
        await self._activate()

    async def _activate(self) -> None:
        client, login = self._client, self._options.login
        self._refuse_to_send_a_clear_password()
        password = login.password
        await client.activate_session(username=login.user, password=password, certificate=client.user_certificate)

    def _refuse_to_send_a_clear_password(self) -> None:
        """Under mode Sign a server may ask for the password unencrypted: it would travel in clear."""
        from asyncua import ua
        from asyncua.crypto.security_policies import SecurityPolicyNone

        login = self._options.login
        kind = (
            ua.UserTokenType.UserName if login.user else ua.UserTokenType.Certificate if login.certificate else ua.UserTokenType.Anonymous
        )
        if not any(p.TokenType == kind for p in self._client._policy_ids):
            offered = ", ".join(sorted({p.TokenType.name for p in self._client._policy_ids})) or "none"
            raise PlantError(f"the server offers no {kind.name} login here; it offers: {offered}")
        clear = self._client.server_policy(kind).SecurityPolicyUri == SecurityPolicyNone.URI
        if login.user and clear and self._options.security.mode != "SignAndEncrypt":
            raise PlantError("the server wants the password in clear; use mode SignAndEncrypt")

    @property
    def session(self) -> Session:
        """What a later channel needs to take this session up again."""
        client = self._client
        return Session(token=client.uaclient.session.authentication_token, nonce=client._server_nonce, policies=client._policy_ids)

    @property
    def session_s(self) -> float:
        """The session's time-out as the server revised it."""
        return float(self._client.session_timeout) / 1000

    @property
    def is_open(self) -> bool:
        protocol = self._client.uaclient.protocol
        return protocol is not None and protocol.transport is not None and not protocol.transport.is_closing()

    # ------------------------------------------------------------ asking

    async def ask(self, request: Any, answer: type[_Answer], timeout_s: float | None = None) -> _Answer:
        """Send a request, decode the answer. A service fault is raised as its ua.UaStatusCodeError. 0 s: wait for ever."""
        from asyncua.ua.ua_binary import struct_from_binary

        limit_s = self._options.request_s if timeout_s is None else timeout_s
        protocol = self._client.uaclient.protocol
        if protocol is None or protocol.transport is None:
            raise ConnectionError("the connection is closed")
        try:
            data = await protocol.send_request(request, limit_s)
        except TimeoutError as e:
            name = type(request).__name__.removesuffix("Request")
            raise TimeoutError(f"no answer to {name} within {limit_s:g} s") from e
        response: Any = struct_from_binary(answer, data)
        response.ResponseHeader.ServiceResult.check()
        return response  # type: ignore[no-any-return]

    async def read(self, nodes: Sequence[tuple[Any, int]], batch: int = 100, index: str | None = None) -> list[Any]:
        """Read (node id, attribute number) pairs from the device itself; DataValues in the same order, Bad ones included."""
        from asyncua import ua

        values: list[Any] = []
        for start in range(0, len(nodes), batch):
            request = ua.ReadRequest()
            request.Parameters.MaxAge = 0
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.Parameters.NodesToRead = [_read_id(node, attribute, index) for node, attribute in nodes[start : start + batch]]
            values += (await self.ask(request, ua.ReadResponse)).Results
        return values

    async def keep_channel(self, clock_sleep: Any) -> None:
        """Renew the channel's keys after three quarters of their life (OPC 10000-4, 5.5.2.1); until cancelled."""
        while True:
            await clock_sleep(self._client.secure_channel_timeout * 0.75 / 1000)
            await self._client.open_secure_channel(renew=True)
            self._client.uaclient.revolve_security_token()

    # ------------------------------------------------------------ closing

    async def close(self) -> None:
        """Leave in good order: PLCs have few sessions. Never raises but for cancellation, never longer than 2 s."""
        from asyncua import ua

        request = ua.CloseSessionRequest()
        request.DeleteSubscriptions = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.ask(request, ua.CloseSessionResponse, _CLOSE_S)
                await self._client.close_secure_channel()
        except (OSError, TimeoutError, ua.UaError):
            pass  # gone already: the server's own time-out ends the session
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the socket and keep the session alive in the server, so that it can be taken up again."""
        protocol = self._client.uaclient.protocol
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()
        self._client.uaclient.disconnect_socket()


async def presented_certificate(options: Options) -> bytes | None:
    """The certificate which the server shows to anybody who asks, for our policy; None if it offers no such endpoint."""
    from asyncua import Client, ua
    from asyncua.crypto import security_policies

    client = Client(options.url, timeout=options.request_s)
    async with asyncio.timeout(options.request_s * 2):
        endpoints = await client.connect_and_get_server_endpoints()
    uri = getattr(security_policies, f"SecurityPolicy{options.security.policy}").URI
    mode = getattr(ua.MessageSecurityMode, str(options.security.mode))
    return next((e.ServerCertificate for e in endpoints if e.SecurityPolicyUri == uri and e.SecurityMode == mode), None)


def _read_id(node: Any, attribute: int, index: str | None) -> Any:
    from asyncua import ua

    item = ua.ReadValueId()
    item.NodeId, item.AttributeId = node, ua.AttributeIds(attribute)
    if index is not None:
        item.IndexRange = index
    return item
