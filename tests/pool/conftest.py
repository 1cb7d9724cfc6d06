"""An agent's ledger behind its API, in this process, for the pool to pull."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from edge_agent.api.app import build
from edge_agent.api.server import agent_of
from edge_agent.clock import ManualClock
from edge_agent.config.model import File
from edge_agent.feedback.ledger import Ledger
from edge_agent.pool.client import Client

LOOP = {"perceive": {"tags": ["flow"], "window": 4}, "diagnose": {"model": "m"}, "decide": {}}
TOKENS = [{"name": "pool", "token": "secret"}, {"name": "partner", "token": "partner", "clearance": "company"}]


class Bridge(httpx.BaseTransport):
    """A blocking client's way to an application in this process."""

    def __init__(self, inner: httpx.ASGITransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def call() -> tuple[int, httpx.Headers, bytes]:
            response = await self._inner.handle_async_request(request)
            return response.status_code, response.headers, b"".join([piece async for piece in response.aiter_raw()])

        with ThreadPoolExecutor(1) as pool:
            status, headers, content = pool.submit(asyncio.run, call()).result()
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File.model_validate(
        {
            "version": 1,
            "agent": {"name": "a1", "site": "jinan", "owner": "acme", "state": str(tmp_path / "state")},
            "connectors": {},
            "tags": {},
            "loops": {"p1": {**LOOP, "feedback": {"share": "company"}}, "p3": LOOP},
            "ledger": {"min_free": "1 B"},
            "api": {"tokens": TOKENS},
        }
    )


@pytest.fixture
def ledger(file: File, clock: ManualClock) -> Iterator[Ledger]:
    opened = Ledger.of(file, clock)
    opened.start()
    yield opened
    opened.close()


@pytest.fixture
def client(file: File, clock: ManualClock, ledger: Ledger) -> Iterator[Callable[..., Client]]:
    """Clients of the agent's API, each with a token."""
    agent = agent_of(file, clock)
    app = build(agent, file.api.tokens, clock)

    def connect(token: str = "secret") -> Client:
        clock.advance(60)
        return Client("http://a1", token, http=httpx.Client(transport=Bridge(httpx.ASGITransport(app))))

    yield connect
    agent.consumers.close()
