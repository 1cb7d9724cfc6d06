"""The plant on node-opcua as a process that can be frozen, killed and started again; and a sink that remembers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors import opcua
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup
from edge_agent.messages import Gap, LinkState, Sample

COUNTERPARTS = Path(__file__).parents[1] / "counterparts"
_READY_S = 40.0  # the first start makes RSA keys


@dataclass
class NodePlant:
    """tests/counterparts/node_plant.js on a fixed port."""

    folder: Path
    pki: Path
    port: int
    settings: Mapping[str, object] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)  # every JSON line it printed, over all starts
    _process: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "plant.der"

    def start(self) -> NodePlant:
        """Start it and wait until it listens."""
        arguments = {"port": self.port, "pki": self.pki, "export": self.certificate, **self.settings}
        command = [_node(), str(COUNTERPARTS / "node_plant.js"), *(f"{k}={v}" for k, v in arguments.items())]
        ready = sum("ready" in line for line in self.log)
        with (self.folder / "stderr").open("a") as err:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=err, text=True, env=os.environ | {"HOME": str(self.folder)}
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if not self.wait(lambda log: sum("ready" in line for line in log) > ready, _READY_S):
            raise RuntimeError(f"the plant did not start: {(self.folder / 'stderr').read_text()[-2000:]}")
        return self

    def wait(self, found: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 10.0) -> bool:
        """Wait until its log says so."""
        with self._changed:
            return self._changed.wait_for(lambda: found(self.log), timeout_s)

    def writes(self) -> list[dict[str, Any]]:
        """Every write that reached it, in order."""
        with self._changed:
            return [line for line in self.log if "write" in line]

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        self._signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join(10)

    def _signal(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)

    def _read(self, process: subprocess.Popen[str]) -> None:
        with process.stdout or open(os.devnull) as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("{"):
                    with self._changed:
                        self.log.append(json.loads(line))
                        self._changed.notify_all()


def _node() -> str:
    node = shutil.which("node")
    if node is None or not ((COUNTERPARTS / "node_modules" / "node-opcua").exists() or os.environ.get("NODE_PATH")):
        pytest.fail("node-opcua is not installed: run `make counterparts`")
    return node


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def plant_pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that all plants of a session share: making them takes seconds."""
    return tmp_path_factory.mktemp("plant-pki")


def _plant(folder: Path, pki: Path, settings: Mapping[str, object]) -> NodePlant:
    folder.mkdir()
    return NodePlant(folder=folder, pki=pki, port=free_port(), settings=settings)


@pytest.fixture
def node_plant(tmp_path: Path, plant_pki: Path) -> Iterator[Callable[..., NodePlant]]:
    """Make plants: `node_plant(step=50)`. Not started yet; stopped at the end."""
    made: list[NodePlant] = []

    def make(*, pki: Path = plant_pki, **settings: object) -> NodePlant:
        made.append(_plant(tmp_path / f"plant{len(made)}", pki, settings))
        return made[-1]

    yield make
    for plant in made:
        plant.thaw()
        plant.stop()


@pytest.fixture(scope="session")
def _shared_plant(tmp_path_factory: pytest.TempPathFactory, plant_pki: Path) -> Iterator[NodePlant]:
    plant = _plant(tmp_path_factory.mktemp("shared") / "plant", plant_pki, {"step": 50, "slow": 1500}).start()
    yield plant
    plant.stop()


@pytest.fixture
def shared_plant(_shared_plant: NodePlant) -> NodePlant:
    """One plant for all tests that do it no harm; its log begins anew with each. Setpoints stay as the last test left them."""
    _shared_plant.log.clear()
    return _shared_plant


class Seen:
    """A sink that remembers everything, and wakes who waits."""

    def __init__(self) -> None:
        self.all: list[Sample] = []
        self.gaps: list[Gap] = []
        self.links: list[LinkState] = []
        self.alives = 0
        self._news = asyncio.Event()

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        self.all += batch
        if committed is not None:
            committed()
        self._news.set()

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._news.set()

    def link(self, state: LinkState) -> None:
        self.links.append(state)
        self._news.set()

    def alive(self, connector: str, mono_ns: int) -> None:
        self.alives += 1
        self._news.set()

    def of(self, tag: str) -> list[Sample]:
        return [s for s in self.all if s.tag == tag]

    def states(self) -> list[str]:
        return [s.state for s in self.links]

    async def until(self, found: Callable[[], Any], timeout_s: float = 15.0) -> None:
        """Wait for news until it is so."""
        async with asyncio.timeout(timeout_s):
            while not found():
                self._news.clear()
                await self._news.wait()


@dataclass
class Session:
    """A running connector and what it delivered."""

    connector: opcua.Connector
    seen: Seen

    def status(self) -> Mapping[str, Any]:
        return self.connector.status()


Connect = Callable[..., Any]


@pytest.fixture
def opcua_session(tmp_path: Path) -> Connect:
    """`async with opcua_session(url, {"flow": "P1.Flow"}, publish="100 ms") as session:` node names are in urn:plant."""

    @asynccontextmanager
    async def connect(url: str, tags: Mapping[str, str | Mapping[str, Any]], **config: Any) -> AsyncIterator[Session]:
        checked = opcua.Config.model_validate(
            {"type": "opcua", "url": url, "keep_alive": "1 s", "publish": "100 ms", "max_backoff": "1 s", **config}
        )
        places = {name: _tag({"node": tag} if isinstance(tag, str) else dict(tag)) for name, tag in tags.items()}
        connector = opcua.Connector(checked, places, Setup(name="plc", clock=SystemClock(), state=tmp_path / "state", agent="test"))
        session = Session(connector, Seen())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(connector.run(session.seen))
            try:
                yield session
            finally:
                task.cancel()

    return connect


def _tag(place: dict[str, Any]) -> opcua.Tag:
    full = {k: f"nsu=urn:plant;s={v}" if k in ("node", "object") and not v.startswith(("ns", "i=")) else v for k, v in place.items()}
    if "method" in full:
        full["method"] = {"object": "nsu=urn:plant;s=Plant", "method": f"nsu=urn:plant;s={full['method']}"}
    return opcua.Tag.model_validate({"from": "plc", **full})


class Wire:
    """A TCP relay that can go silent, as a cable does that is pulled: both ends stay open and hear nothing."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self._whole = asyncio.Event()
        self._whole.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def cut(self) -> None:
        self._whole.clear()

    def heal(self) -> None:
        self._whole.set()

    async def close(self) -> None:
        """Close every connection and wait for its end."""
        self.heal()
        for end in self._ends:
            end.close()
        if self._relays:
            await asyncio.wait(self._relays, timeout=5)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if (task := asyncio.current_task()) is not None:
            self._relays.add(task)
        self._ends.add(writer)
        await self._whole.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self._ends.add(far_writer)
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._whole.wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass  # one of the two has hung up
        finally:
            target.close()


@pytest.fixture
def wire() -> Callable[[int], Any]:
    """`async with wire(plant.port) as w:` a relay to the plant, at w.url."""

    @asynccontextmanager
    async def lay(target: int) -> AsyncIterator[Wire]:
        w = Wire(target)
        server = await asyncio.start_server(w.relay, "127.0.0.1", 0)
        w.port = server.sockets[0].getsockname()[1]
        try:
            yield w
        finally:
            server.close()
            await w.close()

    return lay
