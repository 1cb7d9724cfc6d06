"""The whole agent is killed while messages stream in from mosquitto at QoS 1: is each of them in the ledger?"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from whole_agent import until

from edge_agent import control
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import payload_of
from edge_agent.feedback.verify import verify
from tests.integration.mqtt.conftest import Mosquitto

Figure = Callable[..., None]
pytestmark = pytest.mark.integration

CONFIG = """\
version: 1
agent: {name: a1, owner: acme, state: STATE}
ledger: {min_free: 1 B}
connectors: {bus: {type: mqtt, url: "URL", version: VERSION, client_id: victim}}
tags: {n: {from: bus, topic: count, record: true}}
loops: {}
"""


class Stream:
    """Publishes numbers with a client that nobody here wrote, at some speed, until it has published them all."""

    def __init__(self, broker: Mosquitto, total: int) -> None:
        command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(broker.ports["plain"]), "-t", "count", "-q", "1", "-l"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self._total, self._sent = total, 0

    def some(self, count: int) -> None:
        assert self._process.stdin is not None
        numbers = range(self._sent, min(self._total, self._sent + count))
        self._process.stdin.write(b"".join(b"%d\n" % n for n in numbers))
        self._process.stdin.flush()
        self._sent += len(numbers)

    def end(self) -> None:
        self.some(self._total)
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(240) == 0  # the broker saves its store at each change


class Victim:
    """A process that is killed and started again."""

    def __init__(self, command: list[str], ups: Callable[[], int], log: Path) -> None:
        """`ups`: tells lives apart; it changes once a new one is connected."""
        self._command, self._ups, self._log = command, ups, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        before = self._ups()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until("it to be connected", lambda: self._ups() not in (before, 0))

    def kill(self) -> None:
        if self._process is not None:
            assert self._process.poll() is None, "it ended by itself"
            self._process.kill()
            self._process.wait()
            self._process = None


def killed_while_it_streams(broker: Mosquitto, victim: Victim, total: int, kills: int) -> None:
    """A share of the messages before each kill, at a random moment of their arrival; the rest after the last one."""
    chance, share = random.Random(1), total // (kills + 1)
    victim.start()
    stream = Stream(broker, total)
    for _ in range(kills):
        for _ in range(10):
            stream.some(share // 10)
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.1))
        victim.kill()
        victim.start()
    stream.end()


def linked(state: Path) -> int:
    """The pid of the agent whose link is up; 0 if there is none."""
    try:
        page = control.ask(state / "control.sock", {"do": "status"}, 2.0)
        return int(page["pid"]) if page["connectors"]["bus"]["up"] else 0
    except (EdgeAgentError, OSError, KeyError):
        return 0


def stored(ledger: Path) -> Counter[int]:
    with Reader(ledger) as reader:
        rows = reader.after(Cursor(), 10_000_000)
    return Counter(int(payload_of(row)["value"]) for row in rows if row.kind == "sample")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("m")  # short: a socket lies in it


def nothing_is_lost(broker: Mosquitto, folder: Path, total: int, kills: int, version: str, figure: Figure) -> None:
    state, config = folder / "s", folder / "a1.yaml"
    config.write_text(CONFIG.replace("STATE", str(state)).replace("URL", broker.url()).replace("VERSION", version))
    victim = Victim([sys.executable, "-m", "edge_agent", "run", str(config)], lambda: linked(state), folder / "log")
    try:
        killed_while_it_streams(broker, victim, total, kills)
        until("the last of them", lambda: len(stored(state / "ledger")) == total, 240)
    finally:
        victim.kill()
    found = stored(state / "ledger")
    assert found.keys() == set(range(total))
    assert verify(state / "ledger").findings == []
    figure("MQTT inbound", version=version, messages=total, kills=kills, lost=0, came_again=found.total() - total)


@pytest.mark.timeout(120)
def test_three_kills_lose_no_message(broker: Mosquitto, folder: Path, figure: Figure) -> None:
    nothing_is_lost(broker, folder, 3000, 3, "5", figure)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_fifteen_kills_lose_none_of_twenty_thousand_messages(broker: Mosquitto, folder: Path, version: str, figure: Figure) -> None:
    nothing_is_lost(broker, folder, 20_000, 15, version, figure)


@pytest.mark.control
@pytest.mark.timeout(120)
def test_the_usual_pattern_loses_messages(broker: Mosquitto, folder: Path, figure: Figure) -> None:
    file, log = folder / "stored", folder / "log"
    command = [sys.executable, str(Path(__file__).with_name("naive_subscriber.py")), str(broker.ports["plain"]), str(file)]
    log.touch()
    victim = Victim(command, lambda: log.read_bytes().count(b"up\n"), log)
    try:
        killed_while_it_streams(broker, victim, 5000, 5)
        time.sleep(2.0)
    finally:
        victim.kill()
    lost = 5000 - len(set(file.read_text().split()))
    assert lost > 0
    figure("MQTT inbound, control with the usual pattern", messages=5000, kills=5, lost=lost)
