"""Does a running agent hear its commands, whatever state its file is in?"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_agent import control
from edge_agent.cli import root
from edge_agent.errors import AgentUnreachable, ConfigError

BROKEN = """\
version: 1
agent: {{name: line, owner: acme, state: {state}}}
connectors: {{plc: {{type: opcuaa, url: 7}}}}
tags: {{flow: {{from: plc, node: x, limits: [1}}}}
"""


class FakeAgent:
    """Answers on a real socket, in a thread of its own, and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self._folder, self._ready = folder, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "FakeAgent":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)

    async def _serve(self) -> None:
        self._loop, self._end, ready = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        names = ("stop", "approve", "status")
        async with asyncio.TaskGroup() as group:
            server = group.create_task(control.serve(self._folder / "control.sock", dict.fromkeys(names, self._answer), ready))
            await ready.wait()
            self._ready.set()
            await self._end.wait()
            server.cancel()

    async def _answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(request)
        return {"loops": {"p1": "observe"}, "loop": "p1", "tag": request.get("tag"), "value": request.get("value")}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    with FakeAgent(tmp_path) as running:
        yield running


def run(*words: Any) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def test_stop_reaches_the_agent_although_its_file_is_wrong_by_now(agent: FakeAgent, tmp_path: Path) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(BROKEN.format(state=tmp_path).replace("[1}", "[1]}"))
    result = run("stop", file, "--by", "li")
    assert result.exit_code == 0, result.exception
    assert [asked["do"] for asked in agent.asked] == ["stop"]


def test_stop_takes_the_state_folder_where_the_file_cannot_be_read_at_all(agent: FakeAgent, tmp_path: Path) -> None:
    assert run("stop", tmp_path, "--by", "li").exit_code == 0
    assert [asked["do"] for asked in agent.asked] == ["stop"]


def test_a_file_that_does_not_say_whose_it_is_names_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(BROKEN.format(state=tmp_path))
    error = run("stop", file).exception
    assert isinstance(error, ConfigError)
    assert "state folder" in str(error)


def test_an_agent_that_does_not_run_is_said_so(tmp_path: Path) -> None:
    assert isinstance(run("stop", tmp_path).exception, AgentUnreachable)


def test_a_negative_value_can_be_approved(agent: FakeAgent, tmp_path: Path) -> None:
    result = run("approve", tmp_path, "p1", "trim", "-100", "--by", "li")
    assert result.exit_code == 0, result.output
    assert agent.asked[0]["value"] == -100.0
    assert "trim = -100.0" in result.output
