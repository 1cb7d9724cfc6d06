"""Are bad models refused, each for its own reason, and good ones passed?"""

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_agent.diagnose import golden
from edge_agent.lab.inspect import inspect
from edge_agent.lab.inspection_page import html, text

ROOT = Path(__file__).parents[2]


def look(folder: Path) -> dict[str, Any]:
    return inspect(folder, keys={}, runs=20)


def model(folder: Path) -> onnx.ModelProto:
    return onnx.load_from_string((folder / "model.onnx").read_bytes())


def save(folder: Path, made: onnx.ModelProto, *, both: bool = True) -> None:
    raw = made.SerializeToString()
    (folder / "model.onnx").write_bytes(raw)
    if both:
        (folder / "model.fp32.onnx").write_bytes(raw)


def with_node(folder: Path, *nodes: Any, feeds: str = "window", tensors: tuple[Any, ...] = (), domain: str = "") -> None:
    """Nodes in front of the graph; the last one's output takes the place of the window."""
    made = model(folder)
    for existing in made.graph.node:
        existing.input[:] = [nodes[-1].output[0] if name == feeds else name for name in existing.input]
    for node in reversed(nodes):
        made.graph.node.insert(0, node)
    made.graph.initializer.extend(tensors)
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    save(folder, made)


def change_weights(folder: Path, name: str, change: Callable[[np.ndarray], Any]) -> None:
    made = model(folder)
    for tensor in made.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(np.array(numpy_helper.to_array(tensor)))), name))
    save(folder, made)


def change_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    found = yaml.safe_load((folder / "card.yaml").read_text())
    change(found)
    (folder / "card.yaml").write_text(yaml.safe_dump(found))


def change_golden(folder: Path, change: Callable[[dict[str, np.ndarray]], None], *, consistent: bool = False) -> None:
    arrays = {n: np.array(a) for n, a in golden.load((folder / "golden.npz").read_bytes()).items()}
    change(arrays)
    if consistent:  # as a careless recipe does: whatever goes in, the outputs are computed
        from edge_agent.diagnose.session import open_session

        session = open_session((folder / "model.onnx").read_bytes(), "model")
        arrays["out_probabilities"] = session.run(["probabilities"], {"window": arrays["in_window"]})[0]
    (folder / "golden.npz").write_bytes(golden.dump(arrays))


def consistent(folder: Path) -> None:
    change_golden(folder, lambda arrays: None, consistent=True)


node, f32 = helper.make_node, np.float32


def tensor(name: str, values: Any, dtype: Any = np.int64) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def loop(folder: Path) -> None:
    whether = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("c", "d")]
    turn = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    body = helper.make_graph([node("Identity", ["c"], ["d"])], "body", [turn, whether[0]], [whether[1]])
    with_node(folder, node("Loop", ["", ""], [], body=body), node("Identity", ["window"], ["w"]))


def old(folder: Path) -> None:
    save(folder, helper.make_model(model(folder).graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8))


def branch(folder: Path) -> None:
    arm = helper.make_graph([node("Identity", ["window"], ["o"])], "a", [], [helper.make_tensor_value_info("o", 1, None)])
    with_node(folder, node("If", ["yes"], ["w"], then_branch=arm, else_branch=arm), tensors=(tensor("yes", True, bool),))


def expand_bomb(folder: Path) -> None:
    with_node(folder, node("Expand", ["window", "big"], ["w"]), tensors=(tensor("big", [1 << 20, 3, 100]),))


def pad_bomb(folder: Path) -> None:
    with_node(folder, node("Pad", ["window", "pads"], ["w"]), tensors=(tensor("pads", [0, 0, 0, 0, 0, 1 << 30]),))


def fill_bomb(folder: Path) -> None:
    with_node(
        folder, node("ConstantOfShape", ["big"], ["z"]), node("Identity", ["window"], ["w"]), tensors=(tensor("big", [1 << 16, 1 << 16]),)
    )


def dynamic_size(folder: Path) -> None:
    with_node(folder, node("Shape", ["window"], ["s"]), node("Expand", ["window", "s"], ["w"]))


def many_nodes(folder: Path) -> None:
    with_node(folder, *[node("Identity", ["window" if i == 0 else f"i{i - 1}"], [f"i{i}"]) for i in range(5001)])


def external(folder: Path) -> None:
    made = model(folder)
    stolen = made.graph.initializer[0]
    stolen.ClearField("raw_data")
    stolen.data_location = TensorProto.EXTERNAL
    stolen.external_data.add(key="location", value="../../../etc/passwd")
    save(folder, made)


def runtime_orders(folder: Path) -> None:
    made = model(folder)
    made.metadata_props.add(key="ort_config", value='{"session_options": {"inter_op_num_threads": 64}}')
    save(folder, made)


def function(folder: Path) -> None:
    made = model(folder)
    made.functions.append(helper.make_function("f", "F", ["a"], ["b"], [node("Identity", ["a"], ["b"])], [helper.make_opsetid("", 18)]))
    save(folder, made)


def zip_bomb(folder: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in_window.npy", bytes(64 << 20))
    (folder / "golden.npz").write_bytes(out.getvalue())


def pickled(folder: Path) -> None:
    np.savez(folder / "golden.npz", in_window=np.array([{}], dtype=object))


def linked(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def hard_linked(folder: Path) -> None:
    os.link(folder / "model.onnx", folder.parent / "other.onnx")


def pipe(folder: Path) -> None:
    (folder / "model.fp32.onnx").unlink()
    os.mkfifo(folder / "model.fp32.onnx")


def code(folder: Path) -> None:
    (folder / "hook.py").write_text("print('hello')")


def tampered(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\x00")


def other_version(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace("1.0.0", "9.9.9"))


def not_finite_at_run_time(folder: Path) -> None:
    with_node(folder, node("Sub", ["window", "window"], ["zero"]), node("Div", ["zero", "zero"], ["w"]))


def dead(folder: Path) -> None:
    change_weights(folder, "second", np.zeros_like)
    consistent(folder)


def always_the_same(folder: Path) -> None:
    with_node(folder, node("Mul", ["window", "nothing"], ["w"]), tensors=(tensor("nothing", [0.0], f32),))
    consistent(folder)


def batch_mixer(folder: Path) -> None:
    """Every window is multiplied by the mean over its batch."""
    mean = node("ReduceMean", ["window", "first_axis"], ["m"], keepdims=1)
    with_node(folder, mean, node("Mul", ["window", "m"], ["w"]), tensors=(tensor("first_axis", [0]),))
    made = model(folder)
    made.graph.node[0].input[0] = "window"
    save(folder, made)
    consistent(folder)


def other_twin(folder: Path) -> None:
    made = model(folder)
    for t in made.graph.initializer:
        if t.name in ("second", "bias"):
            flipped = np.ascontiguousarray(numpy_helper.to_array(t)[..., ::-1])
            t.CopyFrom(numpy_helper.from_array(flipped, t.name))
    (folder / "model.fp32.onnx").write_bytes(made.SerializeToString())


def swapped_inputs(folder: Path) -> None:
    """The recipe wrote its windows in another order than the card's: level of x (1 g) and y (0.1 g) changed places."""
    change_golden(folder, lambda a: a.update(in_window=np.ascontiguousarray(a["in_window"][:, [1, 0, 2]])), consistent=True)


def mis_scaled(folder: Path) -> None:
    """Windows in m/s2, ranges and envelope in g."""
    change_golden(folder, lambda a: a.update(in_window=(a["in_window"] * 9.81 * 3).astype(f32)), consistent=True)


def mis_scaled_card(folder: Path) -> None:
    def spoil(card: dict[str, Any]) -> None:
        for key in ("centre", "scale", "low", "high"):
            card["envelope"][key] = [v / 9.81 if v else v for v in card["envelope"][key]]

    change_card(folder, spoil)


def zero_scale(folder: Path) -> None:
    quantize = node("QuantizeLinear", ["window", "s", "z"], ["q"])
    dequantize = node("DequantizeLinear", ["q", "s", "z"], ["w"])
    with_node(folder, quantize, dequantize, tensors=(tensor("s", 0.0, f32), tensor("z", 0, np.uint8)))


BAD: dict[str, tuple[Callable[[Path], None], str, bool]] = {
    # how it is spoilt, what the refusal says, whether the manifest is made to fit
    "truncated": (lambda f: (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[:-40]), "truncated|says|admitted", True),
    "not a graph": (lambda f: (f / "model.onnx").write_bytes(os.urandom(4000)), "model", True),
    "empty graph": (lambda f: save(f, onnx.ModelProto(ir_version=10)), "there is no graph", True),
    "tampered after signing": (tampered, "is not what the manifest says", False),
    "a link": (linked, "plain file", False),
    "a hard link": (hard_linked, "hard link", False),
    "a pipe": (pipe, "not a plain file", False),
    "brings code": (code, "does not belong to the bundle", False),
    "manifest of another version": (other_version, "the manifest is of fan@9.9.9", False),
    "a loop": (loop, "control flow", True),
    "a branch": (branch, "control flow", True),
    "expand bomb": (expand_bomb, "elements; at most", True),
    "pad bomb": (pad_bomb, "elements; at most", True),
    "fill bomb": (fill_bomb, "elements; at most", True),
    "size from the input": (dynamic_size, "must be a constant", True),
    "too many nodes": (many_nodes, "nodes; at most", True),
    "external data": (external, "lies outside the file", True),
    "orders to the runtime": (runtime_orders, "gives orders to the runtime", True),
    "local function": (function, "field 25 is not admitted", True),
    "foreign operator": (lambda f: with_node(f, node("Run", ["window"], ["w"], domain="evil"), domain="evil"), "not on the list", True),
    "randomness": (lambda f: with_node(f, node("RandomNormalLike", ["window"], ["w"])), "not on the list", True),
    "wrong opset": (old, "operator set ai.onnx 9; 11 to", True),
    "NaN weights": (lambda f: change_weights(f, "second", lambda w: np.where(w > 0, np.nan, w).astype(f32)), "holds NaN or infinity", True),
    "infinite weights": (lambda f: change_weights(f, "shift", lambda w: (w + np.inf).astype(f32)), "holds NaN or infinity", True),
    "dead layer": (dead, "a dead layer", True),
    "deaf": (always_the_same, "the same answer to every window", True),
    "not finite when it runs": (not_finite_at_run_time, "not finite", True),
    "mixes its batch": (batch_mixer, "the company it is in", True),
    "scale of zero": (zero_scale, "is zero or negative", True),
    "other twin": (other_twin, "not the same model", True),
    "wrong golden": (lambda f: change_golden(f, lambda a: a.update(out_probabilities=a["out_probabilities"][::-1])), "was promised", True),
    "NaN in golden": (lambda f: change_golden(f, lambda a: a["in_window"].fill(np.nan)), "holds NaN or infinity", True),
    "golden of other shape": (lambda f: change_golden(f, lambda a: a.update(in_window=a["in_window"][:, :2])), "expected", True),
    "zip bomb": (zip_bomb, "arrays or", True),
    "pickled golden": (pickled, "not a plain|not float32|damaged", True),
    "swapped inputs": (swapped_inputs, "swapped|novel to it", True),
    "mis-scaled windows": (mis_scaled, "another unit, or another channel|novel to it", True),
    "mis-scaled card": (mis_scaled_card, "another scale|swapped", True),
    "card without a field": (lambda f: change_card(f, lambda c: c.pop("intended")), "intended", True),
    "card with a strange field": (lambda f: change_card(f, lambda c: c.update(exec="rm")), "exec", True),
    "card of another window": (lambda f: change_card(f, lambda c: c["window"].update(rows=50)), "the card says", True),
    "card of another head": (lambda f: change_card(f, lambda c: c.update(head={"type": "os.system"})), "head", True),
    "safety tier": (lambda f: change_card(f, lambda c: c["intended"].update(tier=3)), "tier", True),
}


@pytest.fixture(scope="module")
def report(good: Path) -> dict[str, Any]:
    return look(good)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "fan"))


def test_there_are_bad_models_of_many_kinds() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_is_refused_and_the_reason_is_said(name: str, folder: Path, lab: SimpleNamespace) -> None:
    spoil, said, sealed = BAD[name]
    spoil(folder)
    if sealed:
        lab.reseal(folder)
    report = look(folder)
    assert report["ok"] is False, text(report)
    assert re.search(said, report["verdict"]["why"]), report["verdict"]["why"]
    assert "REFUSED" in text(report)
    assert "REFUSED" in html(report)


def test_a_good_model_passes_with_the_tier_of_its_card(report: dict[str, Any]) -> None:
    assert report["verdict"]["fit"] is True, text(report)
    assert report["verdict"]["tier"] == 1, text(report)
    assert report["verdict"]["today"] == 0
    assert not [f for f in report["findings"] if f["level"] in ("limit", "refuse")]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(p.parent.name for p in ROOT.glob("models/*/manifest.json")))
def test_every_bundle_that_we_ship_passes(name: str) -> None:
    report = look(ROOT / "models" / name)
    assert report["ok"], text(report)
    assert report["verdict"]["tier"] == report["intended"]["tier"], text(report)


def test_without_a_novelty_gate_it_may_only_observe(folder: Path, lab: SimpleNamespace) -> None:
    change_card(folder, lambda c: (c.pop("envelope"), c["thresholds"].pop("novelty")))
    lab.reseal(folder)
    report = look(folder)
    assert report["ok"]
    assert report["verdict"]["tier"] == 0
    assert "nothing tells when the model is out of its depth" in report["verdict"]["why"]


def test_an_envelope_that_knows_everything_limits_to_observing(folder: Path, lab: SimpleNamespace) -> None:
    change_card(folder, lambda c: c["envelope"].update(reach=1e6, low=None, high=None))
    lab.reseal(folder)
    report = look(folder)
    assert report["verdict"]["tier"] == 0
    assert "tighten the envelope" in report["verdict"]["why"]


def test_confidence_is_judged_where_windows_are_labelled(good: Path, lab: SimpleNamespace, tmp_path: Path) -> None:
    values, labels = lab.cut(speeds=(60, 70))
    file = lab.npz(tmp_path / "w.npz", values, label=labels)
    report = inspect(good, keys={}, windows=file, runs=20)
    found = next(f for f in report["findings"] if f["check"] == "confidence")
    assert 0 <= found["numbers"]["ece"] < 0.5
    assert "Reliability" in html(report)


def test_the_page_loads_nothing_and_escapes_what_the_card_says(report: dict[str, Any]) -> None:
    page = html(report | {"intended": {"use": "<script>alert(1)</script>", "not_for": ""}})
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not [w for w in ("http:", "https:", " src=", " href=", "@import", "url(") if w in page]
    assert page.count("<svg") >= 4
