"""Which graphs are given to the runtime, and which are refused with a reason?"""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_agent.diagnose import admission, card
from edge_agent.errors import ModelRefused


def admit(made: onnx.ModelProto | bytes, tiny: SimpleNamespace, **changes: Any) -> bool:
    raw = made if isinstance(made, bytes) else made.SerializeToString()
    return admission.admit(raw, card.check(tiny.card(**changes)), "m.onnx")


def test_a_plain_graph_is_admitted_with_an_open_batch(tiny: SimpleNamespace) -> None:
    assert admit(tiny.model(), tiny) is True


def test_a_graph_for_one_window_is_admitted_with_a_batch_of_one(tiny: SimpleNamespace) -> None:
    made = tiny.model()
    for v in (*made.graph.input, *made.graph.output):
        v.type.tensor_type.shape.dim[0].dim_value = 1
    assert admit(made, tiny) is False


def with_nodes(tiny: SimpleNamespace, *nodes: Any, constants: tuple[Any, ...] = (), **more: Any) -> onnx.ModelProto:
    return tiny.model(list(nodes), list(constants), **more)


def subgraph(tiny: SimpleNamespace) -> onnx.GraphProto:
    return helper.make_graph([tiny.node("Identity", ["window"], ["inner"])], "sub", [], [tiny.value("inner", ["N", 3, 8])])


def loop(tiny: SimpleNamespace) -> onnx.ModelProto:
    body = helper.make_graph(
        [tiny.node("Identity", ["c"], ["d"])], "b", [tiny.value("i", [], 7), tiny.value("c", [], 9)], [tiny.value("d", [], 9)]
    )
    return with_nodes(tiny, tiny.node("Loop", ["", "yes"], [], body=body), constants=(tiny.tensor("yes", True, bool),))


def external(tiny: SimpleNamespace) -> onnx.ModelProto:
    made = tiny.model()
    held = made.graph.initializer[0]
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value="weights.bin")
    return made


def huge_constant(tiny: SimpleNamespace) -> onnx.ModelProto:
    """The 92-byte file: one operator that asks for 64 GiB."""
    shape = tiny.tensor("shape", [1 << 34], np.int64)
    return tiny.model([tiny.node("ConstantOfShape", ["shape"], ["score"])], [shape], outputs=[tiny.value("score", ["N"])])


def changed(tiny: SimpleNamespace, change: Any) -> onnx.ModelProto:
    made = tiny.model()
    change(made)
    return made


def first_weights(values: Any) -> Any:
    def change(made: onnx.ModelProto) -> None:
        made.graph.initializer[0].raw_data = np.asarray(values, dtype=np.float32).tobytes()

    return change


def grow(op: str, name: str, values: Any, dtype: Any = np.int64) -> Any:
    def make(tiny: SimpleNamespace) -> onnx.ModelProto:
        inputs = {"Resize": ["window", "", name]}.get(op, ["window", name])
        return with_nodes(tiny, tiny.node(op, inputs, ["big"]), constants=(tiny.tensor(name, values, dtype),))

    return make


def spatial(tiny: SimpleNamespace) -> onnx.ModelProto:
    kernel = tiny.tensor("w", np.ones((1, 3, 1)))
    return with_nodes(tiny, tiny.node("Conv", ["window", "w"], ["big"], pads=[1 << 30, 1 << 30]), constants=(kernel,))


def function(tiny: SimpleNamespace) -> onnx.ModelProto:
    made = tiny.model()
    made.functions.append(
        helper.make_function("own", "F", ["a"], ["b"], [tiny.node("Identity", ["a"], ["b"])], [helper.make_opsetid("", 18)])
    )
    return made


def open_shape(op: str) -> Any:
    def make(tiny: SimpleNamespace) -> onnx.ModelProto:
        return with_nodes(
            tiny, tiny.node("Shape", ["window"], ["s"]), tiny.node(op, ["s"] if op == "ConstantOfShape" else ["window", "s"], ["b"])
        )

    return make


def imported(*pairs: tuple[str, int]) -> Any:
    def change(made: onnx.ModelProto) -> None:
        del made.opset_import[:]
        made.opset_import.extend(helper.make_opsetid(d, v) for d, v in pairs)

    return change


def swap_nodes(made: onnx.ModelProto) -> None:
    nodes = list(made.graph.node)[::-1]
    del made.graph.node[:]
    made.graph.node.extend(nodes)


def bad_dims(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [1 << 40]


def sparse(made: onnx.ModelProto) -> None:
    made.graph.sparse_initializer.add().dims.extend([1 << 36])


def orders(made: onnx.ModelProto) -> None:
    made.metadata_props.add(key="ort_config", value="{}")


def infinite_attribute(tiny: SimpleNamespace) -> onnx.ModelProto:
    return with_nodes(tiny, tiny.node("LeakyRelu", ["window"], ["l"], alpha=float("inf")))


def text_weights(tiny: SimpleNamespace) -> onnx.ModelProto:
    return with_nodes(tiny, constants=(helper.make_tensor("t", TensorProto.STRING, [1], [b"x"]),))


def constant_bomb(tiny: SimpleNamespace) -> onnx.ModelProto:
    """The size comes from a Constant node instead of an initializer."""
    size = tiny.node("Constant", [], ["s"], value=tiny.tensor("", [1 << 33], np.int64))
    return with_nodes(tiny, size, tiny.node("ConstantOfShape", ["s"], ["b"]))


def crowd(tiny: SimpleNamespace) -> onnx.ModelProto:
    return with_nodes(tiny, *(tiny.node("Identity", ["window"], [f"i{i}"]) for i in range(5001)))


BAD: dict[str, tuple[Any, str]] = {
    "Loop": (loop, "control flow"),
    "If": (
        lambda t: with_nodes(
            t,
            t.node("If", ["yes"], ["i"], then_branch=subgraph(t), else_branch=subgraph(t)),
            constants=(t.tensor("yes", True, bool),),
        ),
        "control flow",
    ),
    "Scan": (lambda t: with_nodes(t, t.node("Scan", ["window"], ["i"], body=subgraph(t), num_scan_inputs=1)), "control flow"),
    "a graph hidden in an attribute of a harmless operator": (
        lambda t: with_nodes(t, t.node("Relu", ["window"], ["r"], body=subgraph(t))),
        "control flow",
    ),
    "an unknown operator": (lambda t: with_nodes(t, t.node("Frobnicate", ["window"], ["x"])), "Frobnicate is not on the list"),
    "randomness": (lambda t: with_nodes(t, t.node("RandomNormalLike", ["window"], ["x"])), "not on the list"),
    "an unknown domain": (lambda t: with_nodes(t, t.node("Relu", ["window"], ["x"], domain="evil.corp")), "evil.corp.Relu is not on"),
    "a domain without a version": (lambda t: with_nodes(t, t.node("Gelu", ["window"], ["x"], domain="com.microsoft")), "version"),
    "a local function": (function, "field 25 is not admitted"),
    "external data": (external, "outside the file"),
    "a sparse initializer": (lambda t: changed(t, sparse), "field 15 is not admitted"),
    "64 GiB in 92 bytes": (huge_constant, "1.72e+10 elements"),
    "64 GiB from a Constant node": (constant_bomb, "8.59e+09 elements"),
    "Tile": (grow("Tile", "r", [1, 1, 1 << 30]), "1.07e+09 elements"),
    "Expand": (grow("Expand", "s", [1 << 20, 3, 8]), "elements"),
    "Resize": (grow("Resize", "f", [1, 1, 1e9], np.float32), "elements"),
    "Pad": (grow("Pad", "p", [0, 0, 0, 0, 0, 1 << 30]), "elements"),
    "OneHot": (
        lambda t: with_nodes(
            t,
            t.node("OneHot", ["i", "depth", "v"], ["o"]),
            constants=(t.tensor("i", [0], np.int64), t.tensor("depth", 1 << 40, np.int64), t.tensor("v", [0, 1])),
        ),
        "1.1e+12 elements",
    ),
    "Range": (
        lambda t: with_nodes(
            t,
            t.node("Range", ["a", "b", "c"], ["o"]),
            constants=(t.tensor("a", 0), t.tensor("b", 1e12), t.tensor("c", 1)),
        ),
        "a range from 0 to 1e+12",
    ),
    "ConstantOfShape of a computed shape": (open_shape("ConstantOfShape"), "must be a constant"),
    "Expand to a computed shape": (open_shape("Expand"), "must be a constant"),
    "a huge pad of a convolution": (spatial, "1073741824 lies beyond 65536"),
    "an initializer that says more than the file holds": (lambda t: changed(t, bad_dims), "elements are admitted"),
    "an initializer with too few values": (lambda t: changed(t, first_weights([1, 2])), "but 2 values in the file"),
    "NaN in the weights": (lambda t: changed(t, first_weights([1, float("nan"), 3])), "NaN"),
    "infinity in the weights": (lambda t: changed(t, first_weights([1, float("inf"), 3])), "NaN or infinity"),
    "infinity in an attribute": (infinite_attribute, "NaN or infinity"),
    "texts as weights": (text_weights, "field 6 is not admitted"),
    "opset 10": (lambda t: t.model(opset=10), "operator set ai.onnx 10"),
    "opset 99": (lambda t: changed(t, imported(("", 99))), "operator set ai.onnx 99"),
    "two versions of one domain": (lambda t: changed(t, imported(("", 18), ("ai.onnx", 17))), "stands twice"),
    "IR version 3": (lambda t: t.model(ir=3), "IR version 3"),
    "orders to the runtime in the metadata": (lambda t: changed(t, orders), "orders to the runtime"),
    "nodes out of order": (lambda t: changed(t, swap_nodes), "nodes must be in order"),
    "one name made twice": (lambda t: with_nodes(t, t.node("Relu", ["window"], ["centre"])), "empty or taken"),
    "another channel count than the card": (lambda t: t.model(inputs=[t.value("window", ["N", 4, 8])]), "the card says [N, 3, 8]"),
    "another row count than the card": (lambda t: t.model(inputs=[t.value("window", ["N", 3, 9])]), "the card says [N, 3, 8]"),
    "an input of unknown size": (lambda t: t.model(inputs=[t.value("window", ["N", 3, "W"])]), "the card says [N, 3, 8]"),
    "an input of float64": (lambda t: t.model(inputs=[t.value("window", ["N", 3, 8], TensorProto.DOUBLE)]), "must be float32"),
    "an input that the card does not know": (
        lambda t: t.model(inputs=[t.value("window", ["N", 3, 8]), t.value("door", ["N"])]),
        "inputs of the graph: window, door",
    ),
    "an output that is made by no node": (lambda t: changed(t, lambda m: m.graph.node.pop()), "made by no node"),
    "more nodes than bounded": (crowd, "5005 nodes; at most 5000"),
    "no graph at all": (lambda t: onnx.ModelProto(ir_version=10), "no graph"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_graph_is_refused_with_its_reason(what: str, tiny: SimpleNamespace) -> None:
    make, reason = BAD[what]
    changes = {"graph": {"outputs": {"score": "score"}}} if "92 bytes" in what else {}
    with pytest.raises(ModelRefused) as refused:
        admit(make(tiny), tiny, **changes)
    assert reason in str(refused.value)
    assert str(refused.value).startswith("m.onnx: ")


def test_every_truncation_is_refused(tiny: SimpleNamespace) -> None:
    raw = tiny.model().SerializeToString()
    refused = 0
    for cut in range(len(raw)):
        try:
            admit(raw[:cut], tiny)
        except ModelRefused:
            refused += 1
    assert refused >= len(raw) - 2  # cutting the last, empty-handed field off leaves a whole model


def test_a_file_beyond_the_bound_is_refused_unread(tiny: SimpleNamespace) -> None:
    limits = admission.Limits(bytes=100)
    with pytest.raises(ModelRefused, match="at most 100"):
        admission.admit(tiny.model().SerializeToString(), card.check(tiny.card()), "m.onnx", limits)


def test_a_second_graph_is_refused_because_other_readers_would_merge_it(tiny: SimpleNamespace) -> None:
    raw = tiny.model().SerializeToString()
    with pytest.raises(ModelRefused, match="stands twice"):
        admit(raw + raw, tiny)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3b",
        b"\xff" * 4096,
        b"\x3a\x04\x0a\x02\x2a\x00" * 1000,
        b"\x08" + b"\x80" * 11 + b"\x01",
        b"",
        b"\x00",
    ],
    ids=["length beyond the end", "group", "endless number", "nested", "number of 12 bytes", "empty", "field 0"],
)
def test_noise_is_refused(raw: bytes, tiny: SimpleNamespace) -> None:
    with pytest.raises(ModelRefused):
        admit(raw, tiny)


def test_a_million_tiny_fields_take_bounded_time(tiny: SimpleNamespace) -> None:
    raw = b"\x42\x00" * 4_000_000  # four million empty operator sets
    begin = time.process_time()
    with pytest.raises(ModelRefused, match="too many fields"):
        admission.admit(raw, card.check(tiny.card()), "m.onnx", admission.Limits(fields=20_000))
    assert time.process_time() - begin < 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_harmless_but_never_crash(data: st.DataObject) -> None:
    raw = bytearray(_RAW)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        admission.admit(bytes(raw), _CARD, "m.onnx")
    except ModelRefused:
        return


@settings(max_examples=150, deadline=None, derandomize=True)
@given(raw=st.binary(max_size=300))
def test_random_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ModelRefused):
        admission.admit(raw, _CARD, "m.onnx")


def _known() -> tuple[bytes, card.Card]:
    nodes = [helper.make_node("ReduceMean", ["window", "axes"], ["score"], keepdims=0)]
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("window", ["N", 3, 8]), ("score", ["N"]))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [axes])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    says = {
        "format": 1,
        "name": "tiny",
        "version": "1",
        "head": {"type": "anomaly"},
        "window": {"rows": 8},
        "roles": [{"role": r} for r in "abc"],
        "graph": {"outputs": {"score": "score"}},
        "intended": {"use": "tests"},
        "provenance": {"data": "none", "data_licence": "none"},
    }
    return made.SerializeToString(), card.check(says)


_RAW, _CARD = _known()
