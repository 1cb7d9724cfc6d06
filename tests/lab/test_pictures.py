"""A model of pictures is judged, inspected and refused like any other."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.diagnose import build, bundle
from edge_agent.lab import evaluate, inspect, recipe
from edge_agent.lab.data import DataRefused

SIZE, LABELS = 16, ("red iron", "slag inclusion")


def picture(kind: str, number: int) -> NDArray[np.uint8]:
    """Red iron is dark, slag is bright; both are grainy."""
    level = 80 if kind == LABELS[0] else 160
    return np.clip(np.random.default_rng(number).normal(level, 10, (SIZE, SIZE)), 0, 255).astype(np.uint8)


@pytest.fixture
def steel(tmp_path: Path) -> Path:
    """Twenty pictures of each class, one of them larger than the model's."""
    for k, kind in enumerate(LABELS):
        (tmp_path / "xsdd" / "datas" / kind).mkdir(parents=True)
        for i in range(20):
            made = picture(kind, 1000 * k + i)
            made = made if i else cv2.resize(made, (SIZE * 2, SIZE * 2), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(tmp_path / "xsdd" / "datas" / kind / f"{1000 * k + i}.png"), made)
    return tmp_path


def graph() -> onnx.ModelProto:
    """Log-odds from brightness; novel where it is not grainy."""
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["off"]),
        helper.make_node("MatMul", ["off", "weight"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["picture", "all"], ["high"], keepdims=0),
        helper.make_node("ReduceMin", ["picture", "all"], ["low"], keepdims=0),
        helper.make_node("Sub", ["high", "low"], ["wide"]),
        helper.make_node("Less", ["wide", "least"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["novelty"], to=TensorProto.FLOAT),
    ]
    constants: dict[str, Any] = {"axes": [2, 3], "all": [1, 2, 3]}
    tensors = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in constants.items()]
    floats: dict[str, Any] = {"middle": 120.0, "weight": [[-0.1, 0.1]], "least": 5.0}
    tensors += [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in floats.items()]
    value = helper.make_tensor_value_info
    outputs = [value("probabilities", TensorProto.FLOAT, ["N", 2]), value("novelty", TensorProto.FLOAT, ["N"])]
    made = helper.make_graph(nodes, "eye", [value("picture", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])], outputs, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def eye(tmp_path: Path, steel: Path) -> bundle.Bundle:
    """Trained on the first fifteen of each class, as its card says."""
    runs = [r for r in recipe.runs("xsdd", steel / "xsdd") if int(Path(r.name).stem) % 1000 < 15]
    pixels = np.stack([picture(kind, 1000 * k + i) for k, kind in enumerate(LABELS) for i in range(15)]).astype(np.float32)
    card = {
        "format": 1,
        "name": "eye",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": list(LABELS)},
        "window": {"rows": 1},
        "picture": {"height": SIZE, "width": SIZE},
        "roles": [{"role": "picture"}],
        "graph": {"window": "picture", "outputs": {"probabilities": "probabilities", "novelty": "novelty"}},
        "thresholds": {"novelty": 0.99},
        "envelope": build.envelope(pixels.reshape(30, 1, -1), reach=2.0, log=True),
        "intended": {"use": "tests", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0", "runs": recipe.listed(runs)},
        "metrics": {"fp32": {"accuracy": 1.0}},
    }
    onnx.save(graph(), str(tmp_path / "eye.onnx"))
    build.write(tmp_path / "eye", card=card, model=tmp_path / "eye.onnx", fp32=None, golden_inputs={"picture": pixels[::4][:, None]})
    return bundle.read(tmp_path / "eye", dev=True)


def test_pictures_that_it_was_not_trained_on_are_judged_whatever_their_size(eye: bundle.Bundle, steel: Path) -> None:
    report = evaluate.evaluate(eye, "xsdd", steel, say=lambda _: None, runs=20)
    assert report["basis"] == "held-out"
    assert len(report["runs"]["unseen"]) == 10
    assert report["graphs"]["fp32"]["figures"]["accuracy"] == 1.0
    assert report["graphs"]["fp32"]["figures"]["refused_clean"] == 0.0
    assert report["robustness"]["faults"]["stuck"]["refused_mean"] == 1.0


def test_the_same_inspection_takes_pictures(eye: bundle.Bundle) -> None:
    report = inspect.inspect(eye.path, keys={}, runs=20)
    assert report["ok"], report["findings"]
    assert {f["level"] for f in report["findings"]} <= {"pass", "note"}


def test_rows_of_values_are_no_pictures(eye: bundle.Bundle, steel: Path) -> None:
    from edge_agent.lab import catalog
    from edge_agent.lab.heard import listen

    scenario = catalog.load("xsdd")
    episodes = scenario.episodes(scenario.load(steel / "xsdd"))
    rows = [type(e)(run=e.run, group=e.group, values=e.values[0], truth=e.truth) for e in episodes[:1]]
    with pytest.raises(DataRefused, match="takes pictures"):
        listen(eye, eye.model, rows, scenario.card)
