"""A whole agent in this process: its plant is the `sim` connector, its model a few nodes, its key made for the test."""

from __future__ import annotations

import asyncio
import copy
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_agent import app
from edge_agent.agent import Agent, Live
from edge_agent.clock import Clock, SystemClock
from edge_agent.config.load import Configuration, load
from edge_agent.diagnose import build
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.feedback.reader import Reader
from edge_agent.lifecycle.sign import keygen, sign
from edge_agent.messages import Mode, Record
from edge_agent.ops import Ops

ROWS = 4
LOOP: dict[str, Any] = {
    "mode": "armed",
    "tier": 1,
    "perceive": {"tags": ["flow", "level"], "every": "20 ms", "window": ROWS},
    "diagnose": {"model": "tiny"},
    "decide": {
        "policy": "rules",
        "states": {"normal": [{"when": "score > 0.8", "go": "relief"}], "relief": [{"when": "score < 0.3", "go": "normal"}]},
        "actions": {"relief": {"trim": {"trim": -20}}},
    },
    "execute": {
        "trim": {"limits": [-50, 50], "step": 10, "rate": "1000/s", "min_interval": "20 ms", "interlocks": ["running"]},
    },
}  # fmt: skip
WATCH: dict[str, Any] = {
    "perceive": {"tags": ["flow", "level"], "every": "20 ms", "window": ROWS},
    "diagnose": {"model": "tiny"},
    "decide": {"policy": "rules", "states": {"normal": [{"when": "score > 0.8", "go": "high"}], "high": []}},
}
PLANT: dict[str, Any] = {
    "version": 1,
    "agent": {"name": "rig", "owner": "acme"},
    "models": {"trust": "keys"},
    "ledger": {"min_free": "1 MB"},
    "connectors": {"plant": {"type": "sim", "every": "10 ms"}},
    "tags": {
        "flow": {"from": "plant", "mean": 10.0, "responds_to": {"tag": "fault"}},  # a test writes `fault` and `broken`
        "level": {"from": "plant", "mean": 2.0, "responds_to": {"tag": "trim", "gain": 0.001}},
        "running": {"from": "plant", "boolean": True, "mean": 1.0, "responds_to": {"tag": "broken", "gain": -1.0}},
        "trim": {"from": "plant", "write": True, "limits": [-100, 100]},
        "fault": {"from": "plant", "write": True},
        "broken": {"from": "plant", "write": True},
    },
    "loops": {"p1": LOOP},
}


def _bundle(folder: Path, key: Path | None, *, baseline: dict[str, Any] | None = None, **changes: Any) -> None:
    """score = mean square deviation from flow 10, level 2 (or from the baseline); a tenth of it, 1 at most, is calibrated."""
    node = helper.make_node
    nodes = [
        *(
            [node("Slice", ["baseline", "zero", "one", "one"], ["b"]), node("Transpose", ["b"], ["centre"], perm=[0, 2, 1])]
            if baseline
            else []
        ),
        node("Sub", ["window", "centre"], ["d"]),
        node("Mul", ["d", "d"], ["e"]),
        node("ReduceMean", ["e", "axes"], ["score"], keepdims=0),
    ]
    constants = [numpy_helper.from_array(np.array([1, 2], np.int64), "axes")]
    if baseline:
        constants += [numpy_helper.from_array(np.array([i], np.int64), name) for name, i in (("zero", 0), ("one", 1))]
    else:
        constants.append(numpy_helper.from_array(np.array([[[10.0], [2.0]]], np.float32), "centre"))
    given = {"window": ["N", 2, ROWS]} | ({"baseline": ["N", 2, 2]} if baseline else {})
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        constants,
    )
    file = folder.with_suffix(".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    card = {
        "format": 1,
        "name": folder.name,
        "version": "1.0.0",
        "head": {"type": "anomaly"},
        "window": {"rows": ROWS, "every": "20 ms"},
        "roles": [{"role": "flow"}, {"role": "level"}],
        "graph": {"outputs": {"score": "score"}} | ({"baseline": "baseline"} if baseline else {}),
        "calibration": {"raw": [0.0, 10.0], "score": [0.0, 1.0]},
        "thresholds": {"alarm": 0.8},
        "intended": {"use": "tests", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0"},
    }  # fmt: skip
    card |= ({"baseline": baseline} if baseline else {}) | changes
    random = np.random.default_rng(0)
    inputs = {name: random.uniform(1, 2, (4, 2, shape[2])).astype(np.float32) for name, shape in given.items()}
    build.write(folder, card=card, model=file, fp32=None, golden_inputs=inputs)
    if key is not None:
        sign(folder, key)


@dataclass
class Rig:
    """A configuration that may be changed, and the agents that run it."""

    folder: Path
    key: Path
    LOOP = LOOP
    said: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(PLANT))

    @property
    def file(self) -> Path:
        return self.folder / "rig.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def write(self) -> Path:
        """The configuration as it stands, as a file."""
        self.said["agent"]["state"] = str(self.state)
        self.file.write_text(yaml.safe_dump(self.said, sort_keys=False))
        return self.file

    def configuration(self) -> Configuration:
        return load(self.write())

    def bundle(self, name: str, *, sign_it: bool = True, **changes: Any) -> Path:
        """Another bundle, or the same anew."""
        _bundle(self.folder / "models" / name, self.key if sign_it else None, **changes)
        return self.folder / "models" / name

    def add_loop(self, name: str, what: dict[str, Any] = WATCH, **changes: Any) -> None:
        self.said["loops"][name] = copy.deepcopy(what) | changes

    @asynccontextmanager
    async def running(self, *, record: Path | None = None, worker: bool = False, clock: Clock | None = None) -> AsyncIterator[Running]:
        """The agent, ready; it sheds and ends with the block. Its model runs in this process, unless a worker is asked for."""
        configuration = self.configuration()
        runtime = None if worker else InProcessRuntime(app.opener(configuration))
        agent = Agent(configuration, clock=clock or SystemClock(), record=record, runtime=runtime)
        ops = Ops(agent)
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run(ops.handlers()))
            try:
                async with asyncio.timeout(20):
                    await agent.ready.wait()
                yield Running(agent, ops)
            finally:
                agent.stop()

    def records(self, kind: str | None = None, loop: str | None = None) -> list[Record]:
        """What is in the ledger, oldest first."""
        with Reader(self.state / "ledger") as reader:
            return reader.newest(1000, kind, loop)[::-1]


@dataclass
class Running:
    """A running agent, and the shortcuts that the tests use."""

    agent: Agent
    ops: Ops

    def __getitem__(self, loop: str) -> Live:
        return self.agent.loops[loop]

    async def until(self, what: Callable[[], Any], why: str, within_s: float = 10.0) -> None:
        """Wait until it is so. Looks between two rounds of the event loop's parts."""
        try:
            async with asyncio.timeout(within_s):
                while not what():  # noqa: ASYNC110 (what is waited for is a state of the agent, not an event)
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s: {why}; the loops: {self.agent.page()['loops']}") from None

    async def mode(self, loop: str, mode: Mode, within_s: float = 10.0) -> None:
        await self.until(lambda: self[loop].modes.mode is mode, f"{loop} in {mode}", within_s)

    async def turns(self, loop: str, more: int = 3) -> None:
        """Wait for so many more turns."""
        goal = self[loop].runner.counts.turns + more
        await self.until(lambda: self[loop].runner.counts.turns >= goal, f"{loop} turns")

    async def arm(self, loop: str = "p1", **more: Any) -> dict[str, Any]:
        return dict(await self.ops.arm({"loop": loop, "by": "ann", "reason": "test"} | more))

    async def armed(self, loop: str = "p1", **more: Any) -> None:
        """Armed, after enough good windows."""
        await self.until(lambda: self[loop].executor.good_windows >= 3, f"{loop} has good windows")
        await self.arm(loop, **more)

    async def set(self, tag: str, value: float) -> None:
        """Something happens in the plant."""
        port: Any = self.agent.connectors["plant"]
        assert (await port.write(tag, value, 1.0)).status == "good"

    async def reads(self, tag: str) -> Any:
        """What stands in the plant."""
        port: Any = self.agent.connectors["plant"]
        return (await port.read(tag)).value


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed bundle, its public key, and nothing else; nobody may change it."""
    folder = tmp_path_factory.mktemp("signed")
    key, _, _ = keygen(folder / "keys", "tester")
    (folder / "models").mkdir()
    _bundle(folder / "models" / "tiny", key)
    return folder


@pytest.fixture(scope="session")
def armed_before(new_rig: Callable[[], Rig]) -> Path:
    """The folder of an agent that was armed for an hour and then told to end; nobody may change it."""
    rig = new_rig()
    rig.said["loops"]["p1"]["rearm"] = "auto"

    async def arm() -> None:
        async with rig.running() as run:
            await run.armed(**{"for": "1 h"})
            await run.turns("p1")

    asyncio.run(arm())
    return rig.folder


def _copy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path is short: a socket's may have 107 bytes."""
    return Path(shutil.copytree(folder, tmp_path_factory.mktemp("a"), dirs_exist_ok=True))


@pytest.fixture
def auto(armed_before: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A rig whose loop may arm itself again, and was armed when its agent ended."""
    folder = _copy(armed_before, tmp_path_factory)
    rig = Rig(folder, folder / "keys" / "tester.key")
    rig.said["loops"]["p1"]["rearm"] = "auto"
    return rig


@pytest.fixture(scope="session")
def new_rig(signed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Rig]:
    """Makes a configuration of one loop in a folder of its own."""

    def make() -> Rig:
        folder = _copy(signed, tmp_path_factory)
        return Rig(folder, folder / "keys" / "tester.key")

    return make


@pytest.fixture
def rig(new_rig: Callable[[], Rig]) -> Rig:
    """A configuration of one loop in a folder of its own."""
    return new_rig()
