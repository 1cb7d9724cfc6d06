"""What may one connection take from the API? Time to say something, a share of the connections, and whom its certificate names."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_agent.api.tls import common_name

SAY_S = 10.0  # for a whole head of a request
FROM_ONE = 24  # connections from one address


class Protocol(H11Protocol):
    """uvicorn's, which waits for ever for a head, and lets one caller hold every connection."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        mine = _address(self)
        if sum(_address(other) == mine for other in self.connections) > FROM_ONE:
            transport.abort()
            return
        tls = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, "certificate": common_name(tls.getpeercert()) if tls else ""}
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._within_a_request():
            self._at_ease()
        elif self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._at_ease()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self._within_a_request():
            self._wait()  # for the next head; an idle connection is uvicorn's keep-alive time-out's

    def _within_a_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._at_ease()
        idle_s: float = SAY_S if self.cycle is None else max(SAY_S, float(self.timeout_keep_alive))
        self._patience = self.loop.call_later(idle_s, self.transport.abort)

    def _at_ease(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _address(connection: object) -> str:
    client = getattr(connection, "client", None)
    return str(client[0]) if client else ""
