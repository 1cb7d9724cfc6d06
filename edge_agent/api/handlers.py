"""What does each address of the API answer? Plain blocking functions; app.py runs them on threads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from edge_agent import control
from edge_agent import metrics as figures
from edge_agent.api import feedback as pages
from edge_agent.api import site
from edge_agent.api.access import Caller, Denied
from edge_agent.api.consumers import Consumer, Consumers
from edge_agent.api.metrics import Metrics
from edge_agent.api.models import ConsumerOut, CursorIn, LabelIn, LabelOut
from edge_agent.errors import AgentUnreachable, EdgeAgentError, LedgerError
from edge_agent.feedback.reader import Cursor, Reader

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL_WAIT_S = 10.0
_STATUS_WAIT_S = 2.0

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What the API knows of the agent beside it."""

    name: str
    site: str
    ledger: Path
    socket: Path
    consumers: Consumers
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, checked and read."""

    caller: Caller
    query: Mapping[str, str]
    path: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


def feedback(agent: Agent, ask: Ask) -> Response:
    """A page of records after a cursor."""
    numbers = _numbers(ask.query, {"after": (0, 1 << 62), "epoch": (0, 1 << 62), "limit": (1, pages.MOST)})
    cursor = Cursor(numbers.get("epoch", 0), numbers.get("after", 0))
    with Reader(agent.ledger) as reader:
        page = pages.page(reader, cursor, numbers.get("limit", 1000), shares=ask.caller.shares, agent=agent.name, site=agent.site)
    data, encoding = pages.squeeze(page.data, ask.headers.get("accept-encoding", ""))
    agent.metrics.served(ask.caller.name, page.records, len(data))
    headers = {
        "Edge-Agent-Name": agent.name,
        "Edge-Agent-Last-Epoch": str(page.last.epoch),
        "Edge-Agent-Last-Seq": str(page.last.seq),
        "Edge-Agent-More": "true" if page.more else "false",
        "Vary": "Accept-Encoding",
    }
    return Response(data, media_type="application/x-ndjson", headers=headers | ({"Content-Encoding": encoding} if encoding else {}))


def blob(agent: Agent, ask: Ask) -> Response:
    """A blob that a visible record names."""
    name = ask.path["sha256"]
    if not _SHA256.fullmatch(name):
        raise Denied(404, "a blob is named by 64 hex digits; take the name from a record's `blobs`")
    with Reader(agent.ledger) as reader:
        path = reader.blobs.path(name) if reader.shares_of_blob(name) & ask.caller.shares else None
    if path is None or not path.is_file():
        raise Denied(404, "no such blob, or not for this token; retention may have dropped it")
    return FileResponse(path, media_type="application/octet-stream", headers={"Cache-Control": "private, immutable, max-age=31536000"})


def consumers(agent: Agent, ask: Ask) -> Response:
    """Every consumer of this token; of all tokens for one of the site."""
    last = _last(agent)
    seen = [c for c in agent.consumers.all() if c.token == ask.caller.name or ask.caller.clearance == "site"]
    return JSONResponse([_told(c, last).model_dump() for c in seen])


def acknowledge(agent: Agent, ask: Ask) -> Response:
    """Move a consumer's cursor."""
    name, cursor = ask.path["name"], _parsed(CursorIn, ask.body)
    if not _NAME.fullmatch(name):
        raise Denied(422, "a consumer's name begins with a letter and has at most 63 letters, digits, '_', '-' and '.'")
    last = _last(agent)
    if Cursor(cursor.epoch, cursor.seq) > last:
        raise Denied(422, f"the newest record is epoch {last.epoch}, seq {last.seq}; acknowledge only what you have")
    moved = agent.consumers.put(name, ask.caller.name, Cursor(cursor.epoch, cursor.seq))
    return JSONResponse(_told(moved, last).model_dump())


def label(agent: Agent, ask: Ask) -> Response:
    """Hand a label to the control process; the reply comes after its commit."""
    said = _parsed(LabelIn, ask.body)
    seqs = said.seq if isinstance(said.seq, list) else [said.seq]
    with Reader(agent.ledger) as reader:
        hidden = [seq for seq in seqs if (row := reader.row(seq)) is None or row.share not in ask.caller.shares]
    if hidden:
        raise Denied(404, f"no record {hidden[0]}, or not for this token")
    by = f"{said.by} ({ask.caller.name})" if said.by else ask.caller.name
    request = {"do": "label", "seq": seqs, "value": said.value, "note": said.note, "by": by}
    reply = control.ask(agent.socket, request, _CONTROL_WAIT_S)
    return JSONResponse(LabelOut(seq=reply["seq"]).model_dump())


def status(agent: Agent, ask: Ask) -> Response:
    """What the control process says of itself; what is known without it, if it is down."""
    return JSONResponse(_status(agent))


def metrics(agent: Agent, ask: Ask) -> Response:
    """The control process's metrics and our own, for Prometheus."""
    try:
        text = figures.text(control.ask(agent.socket, {"do": "status"}, _STATUS_WAIT_S))  # written out here: control has better to do
        up = True
    except EdgeAgentError:
        text, up = "", False
    return Response(text + agent.metrics.text(control_up=up), media_type="text/plain; version=0.0.4; charset=utf-8")


def home(agent: Agent, ask: Ask) -> Response:
    """The local page."""
    try:
        with Reader(agent.ledger) as reader:
            records = [r for kind in site.SHOWN for r in reader.newest(site.MOST, kind) if r.share in ask.caller.shares]
    except LedgerError:
        records = []
    return HTMLResponse(site.render(agent.name, _status(agent), records), headers=site.HEADERS)


# ---------------------------------------------------------------- parts


def _status(agent: Agent) -> dict[str, Any]:
    told = {"consumers": [{"name": c.name, "epoch": c.cursor.epoch, "seq": c.cursor.seq} for c in agent.consumers.all()]}
    try:
        return {**control.ask(agent.socket, {"do": "status"}, _STATUS_WAIT_S), "degraded": False, **told}
    except EdgeAgentError as e:
        why = str(e) if not isinstance(e, AgentUnreachable) else "the control process does not answer; is `edge-agent run` running?"
    try:
        last = _last(agent)
        known: dict[str, Any] = {"ledger": {"epoch": last.epoch, "last_seq": last.seq}}
    except LedgerError as e:
        known = {"ledger": {"trouble": str(e)}}
    return {"agent": agent.name, "degraded": True, "why": why, **known, **told}


def _last(agent: Agent) -> Cursor:
    with Reader(agent.ledger) as reader:
        return reader.last()


def _told(consumer: Consumer, last: Cursor) -> ConsumerOut:
    cursor = consumer.cursor
    behind = max(0, last.seq - cursor.seq) if cursor <= last else 0
    return ConsumerOut(name=consumer.name, epoch=cursor.epoch, seq=cursor.seq, updated_ns=consumer.updated_ns, behind=behind)


def _parsed(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as e:
        found = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'body'}: {error['msg']}" for error in e.errors(include_url=False)[:5])
        raise Denied(422, f"{found}; see /openapi.json ({model.__name__})") from e


def _numbers(query: Mapping[str, str], known: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, text in query.items():
        if name not in known:
            raise Denied(422, f"{name[:40]!r} is not known here; there are: {', '.join(known)}")
        low, high = known[name]
        if not re.fullmatch(r"[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise Denied(422, f"{name}={text[:40]!r}: give a whole number from {low} to {high}")
        found[name] = int(text)
    return found
