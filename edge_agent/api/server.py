"""How does the API process start and stop? It holds no plant session and writes nothing but its consumers' cursors."""

from __future__ import annotations

import socket

import uvicorn

from edge_agent import places
from edge_agent.api.app import build
from edge_agent.api.consumers import Consumers
from edge_agent.api.handlers import Agent
from edge_agent.api.metrics import Metrics
from edge_agent.clock import Clock
from edge_agent.config.model import File
from edge_agent.errors import EdgeAgentError

_CONCURRENT = 64
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
    except OSError as e:
        raise EdgeAgentError(f"api.host {host}, api.port {port}: cannot listen ({e.strerror or e}); choose another address or port") from e
    return listening


def serve(file: File, clock: Clock, listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT."""
    agent = agent_of(file, clock)
    config = uvicorn.Config(
        build(agent, file.api.tokens, clock),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONCURRENT,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        agent.consumers.close()
        listening.close()
