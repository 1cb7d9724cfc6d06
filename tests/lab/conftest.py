"""A small fan that we know all about: its vibration in three states at several speeds, and a bundle trained on it with numpy."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.diagnose import build, manifest
from edge_agent.lab.scenarios.uci_accelerometer import LABELS

ROWS, CHANNELS, HIDDEN, MOST = 100, 3, 24, 8.0
SPEEDS = (20, 30, 40, 50)

node = helper.make_node


def record(state: int, speed: int, rows: int = 600) -> NDArray[np.float32]:
    """[rows, 3] in g: the states differ in level-free ways, at any speed."""
    rng = np.random.default_rng([state, speed])
    t = np.arange(rows) * 0.02
    turn = np.sin(2 * np.pi * (5 + speed / 20) * t)
    quiet = rng.normal(0, 0.05, (rows, CHANNELS))
    quiet[:, 0] += (0.1 + 0.5 * (state == 1)) * turn
    quiet[:, 1] += (0.1 + 0.5 * (state == 2)) * turn
    return (quiet + np.array([1.0, 0.1, -0.1])).astype(np.float32)


def write_csv(folder: Path, speeds: Sequence[int] = SPEEDS, rows: int = 600) -> Path:
    """accelerometer.csv as the data set has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "accelerometer.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["wconfid", "pctid", "x", "y", "z"])
        for state in range(3):
            for speed in speeds:
                out.writerows([state + 1, speed, *(f"{v:.4f}" for v in row)] for row in record(state, speed, rows))
    return folder


def cut(speeds: Sequence[int] = SPEEDS, stride: int = 50) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Windows [N, 3, 100] and their labels."""
    windows, labels = [], []
    for state in range(3):
        for speed in speeds:
            values = record(state, speed)
            for end in range(ROWS, len(values) + 1, stride):
                windows.append(values[end - ROWS : end].T)
                labels.append(LABELS[state])
    return np.stack(windows).astype(np.float32), np.array(labels)


def features(windows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean square of each channel without its level, as the graph has it."""
    level = windows.mean(axis=2, keepdims=True)
    return np.asarray(((windows - level) ** 2).mean(axis=2) * 10, dtype=np.float64)


def graph(windows: NDArray[np.float32], labels: NDArray[np.str_], opset: int = 18) -> onnx.ModelProto:
    """Random features, least squares, softmax: trained in a millisecond, the same every time."""
    rng = np.random.default_rng(0)
    first, shift = rng.normal(0, 1.5, (CHANNELS, HIDDEN)), rng.normal(0, 0.5, HIDDEN)
    hidden = np.clip(features(windows) @ first + shift, 0, MOST)
    wanted = np.array([[8.0 if label == name else 0.0 for name in LABELS] for label in labels])
    design = np.column_stack([hidden, np.ones(len(hidden))])
    second = np.linalg.solve(design.T @ design + 1e-3 * np.eye(HIDDEN + 1), design.T @ wanted)
    constants = {
        "ten": np.array([10.0]), "first": first, "shift": shift, "second": second[:-1], "bias": second[-1],
    }  # fmt: skip
    nodes = [
        node("ReduceMean", ["window", "rows"], ["level"], "level", keepdims=1),
        node("Sub", ["window", "level"], ["moved"], "sub"),
        node("Mul", ["moved", "moved"], ["squared"], "square"),
        node("ReduceMean", ["squared", "rows"], ["power"], "power", keepdims=0),
        node("Mul", ["power", "ten"], ["scaled"], "scale"),
        node("Gemm", ["scaled", "first", "shift"], ["a"], "gemm1"),
        node("Clip", ["a", "none", "most"], ["h"], "clip"),
        node("Gemm", ["h", "second", "bias"], ["logits"], "gemm2"),
        node("Softmax", ["logits"], ["probabilities"], "softmax", axis=1),
    ]
    tensors = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items()]
    tensors.append(numpy_helper.from_array(np.array([2], dtype=np.int64), "rows"))
    tensors += [numpy_helper.from_array(np.float32(v), n) for n, v in (("none", 0.0), ("most", MOST))]
    return whole(nodes, tensors, opset=opset)


def whole(nodes: list[Any], tensors: list[Any], *, opset: int = 18, rows: int = ROWS) -> onnx.ModelProto:
    """A model with the bundle's input and output."""
    made = helper.make_graph(
        nodes,
        "fan",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["N", CHANNELS, rows])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(LABELS)])],
        tensors,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def card(windows: NDArray[np.float32], runs: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "fan",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": list(LABELS), "normal": LABELS[0]},
        "window": {"rows": ROWS, "every": "20 ms"},
        "roles": [{"role": f"vibration_{a}", "unit": "g", "range": [-16.0, 16.0]} for a in "xyz"],
        "graph": {"outputs": {"probabilities": "probabilities"}},
        "thresholds": {"alarm": 0.5, "novelty": 0.995},
        "envelope": build.envelope(windows, correlated=False, reach=1.5, margin=0.5),
        "intended": {"use": "tests", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0", "runs": dict(runs or {})},
        "metrics": {"fp32": {"macro_f1": 1.0}},
    }


def write(folder: Path, *, speeds: Sequence[int] = SPEEDS, runs: Mapping[str, str] | None = None, **changes: Any) -> Path:
    """A whole bundle, trained on these speeds."""
    windows, labels = cut(speeds)
    file = folder.with_name(f"{folder.name}.onnx")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(graph(windows, labels).SerializeToString())
    pick = np.linspace(0, len(windows) - 1, 12).astype(int)
    build.write(folder, card=card(windows, runs) | changes, model=file, fp32=file, golden_inputs={"window": windows[pick]})
    return folder


def reseal(folder: Path) -> None:
    """A manifest that fits whatever lies in the folder now: a forger's, or a careless colleague's."""
    files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name in manifest.REQUIRED | manifest.OPTIONAL and f.is_file()}
    (folder / "manifest.json").write_bytes(manifest.build("fan", "1.0.0", files))


def npz(file: Path, windows: Any, **more: Any) -> Path:
    np.savez(file, window=windows, **more)
    return file


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle that nobody may change."""
    return write(tmp_path_factory.mktemp("bundles") / "fan")


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """The makers above."""
    return SimpleNamespace(
        node=node, record=record, write_csv=write_csv, cut=cut, graph=graph, whole=whole, card=card, write=write, reseal=reseal, npz=npz,
        LABELS=LABELS, SPEEDS=SPEEDS, json=json,
    )  # fmt: skip
