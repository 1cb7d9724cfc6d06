"""Control, worker and API are killed with SIGKILL at random: is everything there that any of them acknowledged?"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acking_agent import LIFE
from whole_agent import WholeAgent, until

from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.feedback.verify import verify

Figure = Callable[..., None]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[WholeAgent]:
    made = WholeAgent(tmp_path, every="8 ms")
    yield made
    made.kill()


class Clients:
    """People and pools that talk to both processes all the time, and remember what they were told."""

    def __init__(self, agent: WholeAgent) -> None:
        self._agent, self._over = agent, threading.Event()
        self.labels: dict[int, str] = {}
        self.cursor: tuple[int, int] = (0, 0)
        self.went_back: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._label, self._pull)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)

    def _label(self) -> None:
        for n in itertools.count():
            if self._over.wait(0.02):
                return
            value = f"label {n}"
            if seq := self._agent.ask(do="label", seq=1, value=value, by="ann").get("seq"):
                self.labels[seq] = value

    def _pull(self) -> None:
        while not self._over.wait(0.1):
            try:
                self._look_at_the_cursor()
                page, told = self._http("GET", f"/v1/feedback?epoch={self.cursor[0]}&after={self.cursor[1]}&limit=2000")
                place = (int(told["edge-agent-last-epoch"]), int(told["edge-agent-last-seq"]))
                assert len(page.splitlines()) == len({json.loads(line)["seq"] for line in page.splitlines()})
                self._http("PUT", "/v1/consumers/pool", json.dumps({"epoch": place[0], "seq": place[1]}).encode())
                self.cursor = place
            except (OSError, http.client.HTTPException):  # killed before, or in the midst of, its reply
                continue

    def _look_at_the_cursor(self) -> None:
        found = json.loads(self._http("GET", "/v1/consumers")[0])
        place = max(((c["epoch"], c["seq"]) for c in found), default=(0, 0))
        if place < self.cursor:
            self.went_back.append(f"{place} after {self.cursor}")

    def _http(self, method: str, path: str, body: bytes | None = None) -> tuple[bytes, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._agent.port}{path}", body, {"Authorization": "Bearer secret"}, method=method
        )
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.read(), reply.headers


def kill(agent: WholeAgent, kills: int, seed: int, *options: str) -> Counter[str]:
    """Kill one of the three, again and again, mostly at work, now and then while it starts."""
    chance = random.Random(seed)
    victims = (["control", "worker", "control", "api"] * kills)[:kills]
    chance.shuffle(victims)
    agent.start_control(*options)
    agent.start_api()
    for victim in victims:
        if victim == "control":
            kill_control(agent, chance, options)
        elif victim == "worker":
            worker = until("a worker", agent.workers)[0]
            os.kill(worker, signal.SIGKILL)
            time.sleep(chance.uniform(0.0, 0.3))
        else:
            time.sleep(chance.uniform(0.0, 0.5))
            assert agent.api is not None
            assert agent.api.poll() is None, f"the API ended by itself: {agent.log[-2000:]}"
            agent.api.kill()
            agent.api.wait()
            agent.start_api()
    return Counter(victims)


def kill_control(agent: WholeAgent, chance: random.Random, options: tuple[str, ...]) -> None:
    if chance.random() < 0.85:
        until("an acknowledgement in this life", lambda: agent.newest_acknowledged() // LIFE == agent.life)
    time.sleep(chance.uniform(0.0, 0.7))
    assert agent.control is not None
    assert agent.control.poll() is None, f"the agent ended by itself: {agent.log[-2000:]}"
    agent.control.kill()
    agent.control.wait()
    agent.start_control(*options)


def nothing_is_lost(agent: WholeAgent, kills: int, least: int, figure: Figure) -> None:
    with Clients(agent) as clients:
        killed = kill(agent, kills, 1)
        cursor = clients.cursor
        until("the loop to turn after all that", lambda: agent.loop().get("turns", 0) > 2)
        until("the API to serve after all that", lambda: clients.cursor > cursor)
    assert agent.stop() == 0
    report = verify(agent.state / "ledger")
    assert report.findings == []
    assert (report.first, report.removed_records) == (1, 0)
    assert report.records == report.last, "no gap in seq"
    assert report.records >= least, "progress was made"
    acknowledged = agent.acknowledged()
    assert acknowledged - agent.recorded() == set()
    with Reader(agent.state / "ledger") as reader:
        rows = {row.seq: row for row in reader.after(Cursor(), 10_000_000)}
    assert [seq for seq, value in clients.labels.items() if payload_of(rows[seq]).get("value") != value] == []
    assert clients.went_back == []
    assert clients.labels
    assert clients.cursor > (0, 0)
    assert not list((agent.state / "ledger").glob("set-aside-*"))
    assert report.kinds["diagnosis"] >= 1, "the worker answers after all that; a life between two kills is too short for a window"
    told = {"batches": len(acknowledged), "labels": len(clients.labels), "records": report.records}
    figure("process kill", **killed, **told, lost=0, gaps=0)


@pytest.mark.timeout(120)
def test_ten_kills_lose_nothing_that_was_acknowledged(agent: WholeAgent, figure: Figure) -> None:
    nothing_is_lost(agent, 10, 200, figure)


@pytest.mark.control
@pytest.mark.timeout(120)
def test_an_agent_that_acknowledges_too_early_loses(agent: WholeAgent, figure: Figure) -> None:
    kill(agent, 3, 2, "early")
    agent.stop()
    lost = agent.acknowledged() - agent.recorded()
    assert lost
    figure("process kill, control that acks early", kills=3, lost=len(lost))


@pytest.mark.torture
@pytest.mark.timeout(3000)
def test_five_hundred_kills_lose_nothing_that_was_acknowledged(agent: WholeAgent, figure: Figure) -> None:
    nothing_is_lost(agent, 500, 40_000, figure)
