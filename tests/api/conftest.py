"""A ledger with records of every clearance, a control process, and an API before them, in this process."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from edge_agent import control
from edge_agent.api.app import build
from edge_agent.api.server import agent_of
from edge_agent.clock import ManualClock
from edge_agent.config.model import File
from edge_agent.feedback.handlers import label
from edge_agent.feedback.ledger import Ledger

TOKENS = [
    {"name": "site", "token": "site-secret", "may": ("read", "label")},
    {"name": "company", "token": "company-secret", "clearance": "company", "may": ("read", "label")},
    {"name": "consortium", "token": "consortium-secret", "clearance": "consortium"},
]
LOOP = {"perceive": {"tags": ["flow"], "window": 4}, "diagnose": {"model": "m"}, "decide": {}}


def configuration(state: Path, tokens: list[dict[str, object]]) -> File:
    """Loops p1 (company), p2 (consortium), p3 (site)."""
    shares = {"p1": "company", "p2": "consortium", "p3": "site"}
    return File.model_validate(
        {
            "version": 1,
            "agent": {"name": "a1", "site": "jinan", "owner": "acme", "state": str(state)},
            "connectors": {},
            "tags": {},
            "loops": {name: {**LOOP, "feedback": {"share": share}} for name, share in shares.items()},
            "ledger": {"min_free": "1 B"},
            "api": {"tokens": tokens},
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> File:
    return configuration(tmp_path, TOKENS)


@pytest.fixture
def closed_file(tmp_path: Path) -> File:
    return configuration(tmp_path, [])


@pytest.fixture
def ledger(file: File, clock: ManualClock) -> Iterator[Ledger]:
    opened = Ledger.of(file, clock)
    opened.start()
    yield opened
    opened.close()


@dataclass
class Api:
    """The API as three consumers see it."""

    clients: dict[str, httpx.AsyncClient]

    def __getitem__(self, token: str) -> httpx.AsyncClient:
        return self.clients[token]


Connect = Callable[[File], httpx.AsyncClient]


@pytest.fixture
async def api(file: File, clock: ManualClock, ledger: Ledger) -> AsyncIterator[Api]:
    agent = agent_of(file, clock)
    app = build(agent, file.api.tokens, clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    names = ["site", "company", "consortium"]
    clients = {
        n: httpx.AsyncClient(transport=transport, base_url="http://a1", headers={"Authorization": f"Bearer {n}-secret"}) for n in names
    }
    clients["nobody"] = httpx.AsyncClient(transport=transport, base_url="http://a1")
    yield Api(clients)
    for client in clients.values():
        await client.aclose()
    agent.consumers.close()


@pytest.fixture
async def controlled(tmp_path: Path, ledger: Ledger) -> AsyncIterator[None]:
    """A control process's socket that answers status and label."""

    async def status(request: object) -> dict[str, object]:
        loop = {"mode": "armed", "state": "relief", "diagnosis": {"score": 0.9}, "why": "<b>", "turns": 5}
        return {"agent": "a1", "loops": {"p1": loop}}

    handlers: dict[str, control.Handler] = {"status": status, "label": lambda request: label(ledger, request)}
    ready = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(control.serve, tmp_path / "control.sock", handlers, ready)
        await ready.wait()
        yield
        tasks.cancel_scope.cancel()
