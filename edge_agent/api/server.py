"""How does the API process start and stop? It holds no plant session and writes nothing but its consumers' cursors."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from edge_agent import places
from edge_agent.api.access import Access
from edge_agent.api.app import build
from edge_agent.api.consumers import Consumers
from edge_agent.api.handlers import Agent
from edge_agent.api.metrics import Metrics
from edge_agent.api.protocol import Protocol
from edge_agent.api.tls import Wire
from edge_agent.clock import Clock
from edge_agent.config.load import Configuration, load
from edge_agent.config.model import File
from edge_agent.errors import EdgeAgentError
from edge_agent.notify import notify

_log = logging.getLogger(__name__)
_CONCURRENT = 64
_HEAD = 16_000  # bytes of a request's head
_GRACE_S = 5


def agent_of(file: File, clock: Clock) -> Agent:
    """What the API must know, from the configuration."""
    state = places.state(file.agent)
    return Agent(
        name=file.agent.name,
        site=file.agent.site,
        ledger=places.ledger(file.agent),
        socket=places.socket(file.agent),
        consumers=Consumers(state / "api" / "consumers.sqlite3", clock),
        metrics=Metrics(),
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. EdgeAgentError if the address is taken or not ours."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as e:
        raise EdgeAgentError(f"api.host {host}, api.port {port}: cannot listen ({e.strerror or e}); choose another address or port") from e
    return listening


def serve(configuration: Configuration, clock: Clock, listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT. SIGHUP: tokens and certificates are read again, for a change of keys without a pause."""
    file = configuration.file
    agent, access = agent_of(file, clock), Access(file.api.tokens)
    home = configuration.path.parent if configuration.path else Path()
    wire = Wire(file.api.tls, home) if file.api.tls else None
    server = uvicorn.Server(_config(build(agent, access, clock, file.api.names), wire))
    try:
        asyncio.run(_until_told(server, listening, lambda: _renew(configuration, access, wire)))
    finally:
        agent.consumers.close()
        listening.close()


async def _until_told(server: uvicorn.Server, listening: socket.socket, renew: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, renew)
    await server.serve(sockets=[listening])


def _renew(configuration: Configuration, access: Access, wire: Wire | None) -> None:
    """What is wrong in the new files is said, and the old ones go on."""
    notify("RELOADING=1")
    try:
        api = load(configuration.path or Path()).file.api
        if wire is not None and api.tls is not None:
            wire.renew(api.tls)
        access.replace(api.tokens)
        come_or_gone = (api.tls is None) != (wire is None)
        _log.info("read again: %d consumers%s", len(api.tokens), "; api.tls came or went, that needs a restart" if come_or_gone else "")
    except EdgeAgentError as e:
        _log.error("the old tokens and certificates stay: %s", e)
    notify("READY=1")


def _config(asgi: Starlette, wire: Wire | None) -> uvicorn.Config:
    config = uvicorn.Config(
        asgi,
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONCURRENT,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_HEAD,
    )
    config.load()
    config.ssl = wire.context if wire else None
    return config
