"""The control process's unix socket: one JSON request a line in, one JSON reply a line out.

A request is {"do": "status" | "arm" | ..., ...}; a reply is {"ok": true, ...} or {"ok": false, "error": "..."}.
Who may ask is decided by the socket's owner and mode (0660): see systemd/.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.errors import AgentUnreachable, EdgeAgentError

_log = logging.getLogger(__name__)

Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

_LINE = 1 << 20  # longest request, bytes
_REPLY = 1 << 26  # longest reply, bytes: the status of a thousand loops is 3 MB
_IDLE_S = 60.0
_LOOK_S = 3.0  # between two looks whether our socket is still there


def ask(path: Path, request: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
    """Ask the control process; blocking. AgentUnreachable if nobody answers, EdgeAgentError if it says no."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as file:
                reply = json.loads(file.readline(_REPLY))
    except PermissionError as e:
        raise AgentUnreachable(f"{path}: you may not ask this agent; become root or a member of its group (edge-agent)") from e
    except (OSError, ValueError) as e:
        raise AgentUnreachable(f"{path}: no agent answers ({e}); is `edge-agent run` running with this configuration?") from e
    if not reply.get("ok"):
        raise EdgeAgentError(str(reply.get("error", "the agent refused")))
    return dict(reply)


async def serve(path: Path, handlers: Mapping[str, Handler], ready: asyncio.Event | None = None) -> None:
    """Answer requests until cancelled; then nobody who is still connected holds the end up."""
    peers: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer)
        try:
            while line := await asyncio.wait_for(reader.readline(), _IDLE_S):
                writer.write(msgspec.json.encode(await _answer(line, handlers)) + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # a peer that is idle, gone, or sends an endless line is simply let go
        finally:
            peers.discard(writer)
            writer.close()

    try:
        while True:
            await _listen(path, talk, ready)
            _log.warning("control socket: %s was removed; it is made again", path)
    finally:
        for peer in peers:
            peer.transport.abort()
        _make_room(path)


async def _listen(
    path: Path, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], ready: asyncio.Event | None
) -> None:
    """Until our socket bears its name no more: somebody removed it, or mounted another disk over it."""
    _make_room(path)
    server = await asyncio.start_unix_server(talk, path, limit=_LINE)
    try:
        await asyncio.to_thread(path.chmod, 0o660)
        ours = await asyncio.to_thread(_identity, path)
        if ready:
            ready.set()
        while True:
            await asyncio.sleep(_LOOK_S)
            if await asyncio.to_thread(_identity, path) != ours:
                return
    finally:
        server.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


async def _answer(line: bytes, handlers: Mapping[str, Handler]) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
        handler = handlers[request["do"]]
    except (ValueError, TypeError, KeyError) as e:
        return {"ok": False, "error": f"not a request ({e!r}); there are: {', '.join(sorted(handlers))}"}
    try:
        return {"ok": True, **await handler(request)}
    except EdgeAgentError as e:
        return {"ok": False, "error": str(e)}
    except Exception as e:  # noqa: BLE001 (a defect in one answer: whoever asked is told, and the agent goes on)
        _log.error("control socket: %s failed: %r", request["do"], e, exc_info=e)
        return {"ok": False, "error": f"{request['do']} failed, which is a defect of the agent: {e!r}; its log says more"}
