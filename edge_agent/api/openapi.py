"""What does the API look like to a program? OpenAPI 3.1, made from the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse, Response

from edge_agent import __version__
from edge_agent.api.handlers import Agent, Ask
from edge_agent.api.models import ConsumerOut, CursorIn, ErrorOut, LabelIn, LabelOut, RecordOut

_MODELS: tuple[type[BaseModel], ...] = (ConsumerOut, CursorIn, ErrorOut, LabelIn, LabelOut, RecordOut)
_BIG = (1 << 62) - 1


def answer(agent: Agent, ask: Ask) -> Response:
    """GET /openapi.json."""
    return JSONResponse(document())


def document() -> dict[str, Any]:
    """The whole description."""
    _, schemas = models_json_schema([(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-agent pull API", "version": __version__, "description": _TEXT},
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {"schemas": schemas["$defs"], "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


_TEXT = (
    "Pull records with GET /v1/feedback?after=SEQ&epoch=EPOCH, take the next cursor from the headers Edge-Agent-Last-Epoch and "
    "Edge-Agent-Last-Seq (records that your token may not see advance it too), store what came, then acknowledge it with PUT "
    "/v1/consumers/NAME. The key (agent, epoch, seq) is unique for ever: at least once on the wire, exactly once in your store."
)


def _paths() -> dict[str, Any]:
    return {
        "/v1/feedback": {"get": _feedback()},
        "/v1/blobs/{sha256}": {"get": _blob()},
        "/v1/consumers": {"get": _op("The consumers and how far they have come", _json({"type": "array", "items": _ref(ConsumerOut)}))},
        "/v1/consumers/{name}": {"put": _op("Acknowledge", _json(_ref(ConsumerOut)), [_at("name")], CursorIn)},
        "/v1/labels": {"post": _op("Say what was true of older records", _json(_ref(LabelOut)), [], LabelIn)},
        "/v1/status": {"get": _op("What the agent is doing; `degraded` while its control process is down", _json({"type": "object"}))},
        "/metrics": {"get": _op("Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}})},
        "/openapi.json": {"get": _op("This description", _json({"type": "object"}))},
        "/": {"get": _op("The local page; a browser sends the token as a password", {"text/html": {"schema": {"type": "string"}}})},
    }


def _feedback() -> dict[str, Any]:
    numbers = [_number("after", 0, _BIG, 0), _number("epoch", 0, _BIG, 0), _number("limit", 1, 5000, 1000)]
    operation = _op(
        "The next page of records, one JSON a line; zstd or gzip", {"application/x-ndjson": {"schema": _ref(RecordOut)}}, numbers
    )
    names = ("Edge-Agent-Name", "Edge-Agent-Last-Epoch", "Edge-Agent-Last-Seq", "Edge-Agent-More")
    operation["responses"]["200"]["headers"] = {name: {"schema": {"type": "string"}} for name in names}
    return operation


def _blob() -> dict[str, Any]:
    operation = _op(
        "A blob, whole or in ranges", {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}, [_at("sha256")]
    )
    operation["responses"]["206"] = {"description": "the range asked for"}
    return operation


def _op(
    summary: str, content: dict[str, Any], parameters: list[dict[str, Any]] | None = None, body: type[BaseModel] | None = None
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {
            "200": {"description": "done", "content": content},
            "default": {"description": "not done", "content": _json(_ref(ErrorOut))},
        },
    }
    return operation | ({"requestBody": {"required": True, "content": _json(_ref(body))}} if body else {})


def _number(name: str, low: int, high: int, default: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _at(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
