"""Which models do the benches run? Small 1-D CNNs with fixed random weights, FP32 and INT8, written as whole bundles."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.diagnose import build

LEVEL = 10.0  # what the made-up sensors show, about


def windows(count: int, channels: int, rows: int) -> NDArray[np.float32]:
    """Noise around LEVEL, always the same: [count, channels, rows]."""
    return np.random.default_rng(1).normal(LEVEL, 1.0, (count, channels, rows)).astype(np.float32)


def network(channels: int, rows: int, width: int = 16) -> onnx.ModelProto:
    """Two convolutions, a mean, a sigmoid: window [N, C, R] to score [N]."""
    random = np.random.default_rng(2)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], name=output, **attributes)

    constants = [
        numpy_helper.from_array(np.array(LEVEL, np.float32), "level"),
        weights("w1", width, channels, 5),
        weights("w2", 2 * width, width, 5),
        weights("w3", 2 * width, 1),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    nodes = [
        node("Sub", ["window", "level"], "centred"),
        node("Conv", ["centred", "w1"], "c1", strides=[2], pads=[2, 2]),
        node("Relu", ["c1"], "r1"),
        node("Conv", ["r1", "w2"], "c2", strides=[2], pads=[2, 2]),
        node("Relu", ["c2"], "r2"),
        node("ReduceMean", ["r2", "last"], "mean", keepdims=0),
        node("MatMul", ["mean", "w3"], "logit"),
        node("Squeeze", ["logit", "one"], "flat"),
        node("Sigmoid", ["flat"], "score"),
    ]
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["N", channels, rows])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write(folder: Path, *, channels: int, rows: int, every_s: float = 1.0, width: int = 16, quantized: bool = True) -> Path:
    """A whole bundle of such a network."""
    with tempfile.TemporaryDirectory() as scratch:
        fp32, chosen = Path(scratch) / "fp32.onnx", Path(scratch) / "model.onnx"
        fp32.write_bytes(network(channels, rows, width).SerializeToString())
        seen = windows(16, channels, rows)
        if quantized:
            build.quantize(fp32, chosen, [{"window": seen}])
        else:
            chosen = fp32
        build.write(folder, card=_card(channels, rows, every_s, seen), model=chosen, fp32=None, golden_inputs={"window": seen[:8]})
    return folder


def _card(channels: int, rows: int, every_s: float, seen: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "bench",
        "version": "1.0.0",
        "head": {"type": "anomaly"},
        "window": {"rows": rows, "every": f"{every_s:g} s"},
        "roles": [{"role": f"c{i}"} for i in range(channels)],
        "graph": {"outputs": {"score": "score"}},
        "calibration": {"raw": [0.0, 1.0], "score": [0.0, 1.0]},
        "thresholds": {"novelty": 1.0},
        "envelope": build.envelope(seen, reach=10.0),
        "intended": {"use": "benches", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0"},
    }
