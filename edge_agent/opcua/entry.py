"""How do we get into the server: over which channel, bound to which certificate, in the old session or a new one?"""

from __future__ import annotations

import asyncio
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import PlantError
from edge_agent.opcua import channel as channels
from edge_agent.opcua import security
from edge_agent.opcua.channel import Channel, Session
from edge_agent.opcua.options import Options
from edge_agent.opcua.security import Identity

_STUMBLES = 2  # time-outs while taking up a session, after which it is let go


class Entry:
    """Opens channels with a logged-in session, one after the other."""

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._session: Session | None = None  # of the last channel, to be taken up again
        self._stumbles = 0
        self.resumed = False  # whether the present session is an old one
        self.session_s = 0.0  # its time-out, as revised by the server

    @property
    def how(self) -> str:
        return "session taken up again" if self.resumed else "new session"

    def take(self, session: Session) -> None:
        """A session of an earlier process, to be taken up again."""
        self._session = session

    @property
    def session(self) -> Session | None:
        return self._session

    def forget(self) -> None:
        """The next session is a new one."""
        self._session = None

    async def enter(self) -> Channel:
        """An open channel, in the old session if the server still has it. PlantError, TimeoutError, OSError, ua.UaError."""
        # read anew each time: certificates may have been put right in the meantime
        identity = await asyncio.to_thread(security.load, self._options, self._clock)
        if self._session is not None and (channel := await self._resume(identity, self._session)):
            return self._entered(channel, resumed=True)
        self._session = None
        channel = await self._open(identity)
        try:
            await channel.create_session()
        except BaseException:
            await channel.close()  # a session that was made but not logged in must not stay
            raise
        return self._entered(channel, resumed=False)

    def _entered(self, channel: Channel, *, resumed: bool) -> Channel:
        self.resumed, self._stumbles = resumed, 0
        self._session, self.session_s = channel.session, channel.session_s
        return channel

    async def _resume(self, identity: Identity, session: Session) -> Channel | None:
        from asyncua import ua

        channel = await self._open(identity)
        try:
            await channel.resume_session(session)
        except ua.UaError:
            channel.abort()
            return None
        except BaseException as e:
            channel.abort()
            self._stumble(e)
            raise
        return channel

    def _stumble(self, error: BaseException) -> None:
        """A server that opens a channel and then does not answer for the session: it is not asked for ever."""
        self._stumbles += isinstance(error, TimeoutError)
        if self._stumbles >= _STUMBLES:
            self._session, self._stumbles = None, 0

    async def _open(self, identity: Identity) -> Channel:
        certificate = await self._pin(identity)
        channel = Channel(self._options, identity, certificate)
        try:
            await channel.open()
        except BaseException as e:
            channel.abort()
            if certificate is not None and not isinstance(e, TimeoutError | ConnectionRefusedError | asyncio.CancelledError):
                await self._unmask(identity, e)
            raise
        return channel

    async def _pin(self, identity: Identity) -> Any:
        """The one certificate that this channel is bound to. With several trusted ones the server says which it has."""
        if len(identity.trusted) < 2:
            return next(iter(identity.trusted), None)
        presented = await channels.presented_certificate(self._options)
        certificate = security.pinned(presented, identity.trusted)
        if certificate is None:
            raise PlantError("the server presents a certificate that is not among the trusted ones; refused")
        return certificate

    async def _unmask(self, identity: Identity, cause: BaseException) -> None:
        """Say plainly when a secure channel failed because another server answers, or because ours is not trusted."""
        from asyncua import ua

        try:
            presented = await channels.presented_certificate(self._options)
        except (OSError, TimeoutError, ua.UaError):
            return
        if presented is None:
            raise PlantError(f"the server offers no endpoint with {self._options.security}") from cause
        if security.pinned(presented, identity.trusted) is None:
            expected = ", ".join(security.fingerprint(c) for c in identity.trusted)
            raise PlantError(f"the server presents a certificate that is not the pinned one (sha256 {expected}...); refused") from cause
        if isinstance(cause, PlantError | ConnectionError | ua.UaError):
            raise PlantError(f"the server refused our certificate ({identity.certificate_path}); make the server trust it") from cause
