"""Tiny graphs, cards, bundles and windows for the tests of the diagnose link."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.diagnose import build, bundle, manifest
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.messages import Window

CHANNELS, ROWS = 3, 8
TAGS = ("flow", "pressure", "current")
CENTRE = np.array([10.0, 2.0, 5.0], dtype=np.float32)

node = helper.make_node


def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name: str, array: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array, dtype=dtype), name)


def deviation(*, contributions: bool = True) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """score = mean square deviation from CENTRE; contributions = that of each channel."""
    name = "contributions" if contributions else "each"
    nodes = [
        node("Sub", ["window", "centre"], ["d"]),
        node("Mul", ["d", "d"], ["e"]),
        node("ReduceMean", ["e", "two"], [name], keepdims=0),
        node("ReduceMean", [name, "one"], ["score"], keepdims=0),
    ]
    return nodes, [tensor("centre", CENTRE.reshape(1, -1, 1)), tensor("two", [2], np.int64), tensor("one", [1], np.int64)]


def model(
    nodes: list[onnx.NodeProto] | None = None,
    constants: list[onnx.TensorProto] | None = None,
    *,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 18,
    ir: int = 10,
) -> onnx.ModelProto:
    """A model; by default the deviation graph, with nodes and constants added in front of it."""
    own, fixed = deviation()
    graph = helper.make_graph(
        [*(nodes or []), *own] if outputs is None else (nodes or []),
        "g",
        inputs or [value("window", ["N", CHANNELS, ROWS])],
        outputs if outputs is not None else [value("score", ["N"]), value("contributions", ["N", CHANNELS])],
        [*(constants or []), *fixed] if outputs is None else (constants or []),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def plain(*, contributions: bool = True) -> onnx.ModelProto:
    """The deviation graph, with or without its contributions."""
    if contributions:
        return model()
    nodes, constants = deviation(contributions=False)
    return model(nodes, constants, outputs=[value("score", ["N"])])


def card(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "tiny",
        "version": "1.0.0",
        "head": {"type": "anomaly"},
        "window": {"rows": ROWS, "every": "1 s"},
        "roles": [{"role": r, "unit": u} for r, u in (("flow", "l/min"), ("pressure", "bar"), ("current", "A"))],
        "graph": {"outputs": {"score": "score", "contributions": "contributions"}},
        "calibration": {"raw": [0.0, 10.0], "score": [0.0, 1.0]},
        "thresholds": {"alarm": 0.5},
        "intended": {"use": "tests", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0"},
    } | changes


def windows(count: int = 4, spread: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(count, CHANNELS, ROWS))
    return (CENTRE[None, :, None] + spread * noise).astype(np.float32)


def write(folder: Path, made: onnx.ModelProto | None = None, vectors: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A whole bundle."""
    file = folder.with_name(f"{folder.name}.onnx")
    file.write_bytes((made or model()).SerializeToString())
    build.write(folder, card=card(**changes), model=file, fp32=None, golden_inputs=vectors or {"window": windows()})
    return folder


def reseal(folder: Path) -> None:
    """A manifest that fits whatever lies in the folder now."""
    files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name in manifest.REQUIRED | manifest.OPTIONAL}
    (folder / "manifest.json").write_bytes(manifest.build("tiny", "1.0.0", files))


def window(values: NDArray[np.float32] | None = None, *, seq: int = 1, tags: tuple[str, ...] = TAGS, **changes: Any) -> Window:
    """A good window that ends at second `seq`."""
    data = windows(1)[0] if values is None else values
    made = Window(
        loop="p1",
        seq=seq,
        tags=tags,
        start_ns=(seq - data.shape[1] + 1) * 1_000_000_000,
        end_ns=seq * 1_000_000_000,
        cut_ns=seq * 1_000_000_000,
        mono_ns=seq * 1_000_000_000,
        values=data,
        quality=np.zeros(data.shape, dtype=np.uint16),
        live={},
        fit=True,
    )
    return replace(made, **changes)


read_dev = partial(bundle.read, dev=True)


@pytest.fixture
def tiny() -> SimpleNamespace:
    """The makers above, for every test file of this folder."""
    return SimpleNamespace(
        node=node, value=value, tensor=tensor, model=model, plain=plain, card=card, windows=windows, write=write, reseal=reseal,
        window=window, read=read_dev, TAGS=TAGS, CENTRE=CENTRE, CHANNELS=CHANNELS, ROWS=ROWS,
    )  # fmt: skip


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle that nobody may change."""
    return write(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A good, unsigned bundle to spoil."""
    return Path(shutil.copytree(written, tmp_path / "tiny"))


@pytest.fixture
async def in_process() -> AsyncIterator[InProcessRuntime]:
    runtime = InProcessRuntime(read_dev)
    yield runtime
    await runtime.close()
