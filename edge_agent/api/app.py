"""Which address leads where, and what happens around every request: who asks, how often, how much, and errors as JSON."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge_agent.api import bounds, crossing, handlers, openapi
from edge_agent.api.access import Access, Caller, Denied, Right
from edge_agent.api.handlers import Agent, Ask
from edge_agent.clock import Clock
from edge_agent.config.model import Token
from edge_agent.errors import AgentUnreachable, EdgeAgentError, LedgerError

_log = logging.getLogger(__name__)
_PER_SECOND, _BURST = 50.0, 200
_WRONG_PER_SECOND, _WRONG_BURST = 0.2, 20  # log-ins that may fail, from one address

Handler = Callable[[Agent, Ask], Response]


@dataclass(frozen=True, slots=True)
class Address:
    """A route. `page`: meant for a browser."""

    method: str
    path: str
    handler: Handler
    right: Right = "read"
    page: bool = False


ADDRESSES: Sequence[Address] = (
    Address("GET", "/v1/feedback", handlers.feedback),
    Address("GET", "/v1/blobs/{sha256}", handlers.blob),
    Address("GET", "/v1/consumers", handlers.consumers),
    Address("PUT", "/v1/consumers/{name}", handlers.acknowledge),
    Address("POST", "/v1/labels", handlers.label, right="label"),
    Address("GET", "/v1/status", handlers.status),
    Address("GET", "/metrics", handlers.metrics),
    Address("GET", "/openapi.json", openapi.answer),
    Address("GET", "/", handlers.home, page=True),
)


class Door:
    """Lets a request in, or denies it: meant for us, not after too many wrong log-ins, with a right, not too often."""

    def __init__(self, access: Access, names: Collection[str], clock: Clock) -> None:
        self._access, self._names = access, names
        self._rate = bounds.Rate(clock, per_second=_PER_SECOND, burst=_BURST)
        self._wrong = bounds.Rate(clock, per_second=_WRONG_PER_SECOND, burst=_WRONG_BURST)

    async def admit(self, request: Request, address: Address) -> Ask:
        crossing.refuse_strays(request.headers, self._names)
        caller = self._caller(request, address)
        caller.need(address.right)
        self._rate.take(caller.name)
        body = await bounds.body(request.stream())
        return Ask(caller=caller, query=dict(request.query_params), path=request.path_params, headers=request.headers, body=body)

    def _caller(self, request: Request, address: Address) -> Caller:
        where = request.client.host if request.client else ""
        self._wrong.refuse_empty(where)
        certificate = getattr(request.state, "certificate", "")
        try:
            return self._access.caller(request.headers.get("authorization", ""), page=address.page, certificate=certificate)
        except Denied:
            self._wrong.take(where)
            raise


def build(agent: Agent, tokens: Sequence[Token] | Access, clock: Clock, names: Collection[str] = ()) -> Starlette:
    """The ASGI application. `names`: under which this machine is asked, beside its addresses and names without a dot."""
    access = tokens if isinstance(tokens, Access) else Access(tokens)
    door = Door(access, {name.lower() for name in names}, clock)
    routes = [Route(a.path, _endpoint(agent, a, door), methods=[a.method]) for a in ADDRESSES]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _our_fault})


def _endpoint(agent: Agent, address: Address, door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            ask = await door.admit(request, address)
            response = await run_in_threadpool(address.handler, agent, ask)
        except Denied as e:
            response = _error(e.status, str(e), e.headers)
        except ClientDisconnect:
            response = _error(400, "the body ended too early; send it whole")
        except (AgentUnreachable, LedgerError) as e:
            response = _error(503, str(e), {"Retry-After": "5"})
        except EdgeAgentError as e:
            response = _error(422, str(e))
        agent.metrics.answered(address.path, response.status_code)
        return response

    return endpoint


def _error(status: int, what: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": what}, status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = ", ".join(f"{a.method} {a.path}" for a in ADDRESSES)
    return _error(status, f"{request.method} {request.url.path[:100]} is not here; there are: {known}")


async def _our_fault(request: Request, error: Exception) -> Response:
    return _error(500, "a defect of the agent, not of your request; its log holds the details: please report it")
