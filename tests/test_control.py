"""Asking the control process over its socket."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.control import ask, serve
from edge_agent.errors import AgentUnreachable, EdgeAgentError

pytestmark = pytest.mark.anyio


async def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    if request.get("refuse"):
        raise EdgeAgentError("no: because")
    return {"heard": request["say"]} if "say" in request else {}


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(path, {"echo": echo}, ready))
        await asyncio.wait_for(ready.wait(), 5)
        yield
        task.cancel()


async def test_a_question_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        assert await asyncio.to_thread(ask, tmp_path / "s", {"do": "echo", "say": "hello"}) == {"ok": True, "heard": "hello"}


async def test_a_refusal_comes_back_in_its_own_words(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        with pytest.raises(EdgeAgentError, match="no: because"):
            await asyncio.to_thread(ask, tmp_path / "s", {"do": "echo", "refuse": True})


async def test_what_is_not_a_request_is_answered_with_what_would_be(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        for line in (b"nonsense\n", b"[1]\n", b'{"do": "fly"}\n', b"{}\n"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(line)
            answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
            writer.close()
            await writer.wait_closed()
            assert answer["ok"] is False
            assert "echo" in answer["error"]


async def test_the_socket_is_for_owner_and_group_only(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660


def test_nobody_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachable, match="is `edge-agent run` running"):
        ask(tmp_path / "none", {"do": "status"})


async def test_a_defect_in_an_answer_is_told_to_whoever_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"ratio": 1 / 0}

    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        server = group.create_task(serve(tmp_path / "s", {"status": broken}, ready))
        await ready.wait()
        for _ in range(2):  # and the next one is answered too
            with pytest.raises(EdgeAgentError, match="status failed, which is a defect of the agent: ZeroDivisionError"):
                await asyncio.to_thread(ask, tmp_path / "s", {"do": "status"})
        server.cancel()
    assert "ZeroDivisionError" in caplog.text


async def test_a_client_that_stays_connected_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        server = group.create_task(serve(tmp_path / "s", {}, ready))
        await ready.wait()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"{}\n")
        assert b"not a request" in await reader.readline()
        server.cancel()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
    assert not (tmp_path / "s").exists()


async def test_a_socket_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.control._LOOK_S", 0.01)
    async with serving(tmp_path / "s"):
        (tmp_path / "s").unlink()
        async with asyncio.timeout(5):
            while not (tmp_path / "s").exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        assert await asyncio.to_thread(ask, tmp_path / "s", {"do": "echo", "say": "again"}) == {"ok": True, "heard": "again"}
