"""Do the constants of a graph look like those of a trained model: alive, in bounds, scales that scale?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import onnx_schema, operators
from edge_agent.diagnose.protobuf import Budget, joined, read
from edge_agent.lab.findings import Finding, note, passed, refusal

_FIELDS = 500_000
_SMALL = 16  # elements: below, it is a shape or a threshold, not weights
_HUGE = 1e8
_SCALED = frozenset({"QuantizeLinear", "DequantizeLinear"})


def check(graph: bytes, what: str) -> Finding:
    """Of an admitted graph."""
    model = read(memoryview(graph), onnx_schema.MODEL, Budget(_FIELDS))["graph"]
    tensors = dict(_tensors(model))
    name = f"weights of {what}"
    dead = [n for n, t in tensors.items() if t.size >= _SMALL and t.dtype.kind in "fi" and t.ndim > 1 and not t.any()]
    if dead:
        return refusal(name, f"{dead[0]} holds nothing but zeros: a dead layer; train or export again")
    scales = {node["input"][1] for node in model["node"] if node["op_type"] in _SCALED}
    if bad := [n for n in scales if n in tensors and not (tensors[n] > 0).all()]:
        return refusal(name, f"the quantization scale {bad[0]} is zero or negative; quantize again")
    weights = {n: t for n, t in tensors.items() if t.dtype.kind == "f" and t.size >= _SMALL}
    if huge := [n for n, t in weights.items() if np.abs(t).max() > _HUGE]:
        return note(name, f"{huge[0]} holds values up to {np.abs(weights[huge[0]]).max():.3g}", tensors=len(tensors))
    count = sum(t.size for t in tensors.values())
    zero = sum(int((t == 0).sum()) for t in tensors.values()) / max(count, 1)
    return passed(name, f"{count} values in {len(tensors)} tensors, {zero:.0%} of them zero, all finite", values=count, zero_share=zero)


def _tensors(graph: dict[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    for tensor in graph["initializer"]:
        yield tensor["name"], _values(tensor)
    for node in graph["node"]:
        for attribute in node["attribute"]:
            if node["op_type"] == "Constant" and "t" in attribute:
                yield node["output"][0], _values(attribute["t"])


def _values(tensor: dict[str, Any]) -> NDArray[Any]:
    dtype, typed = operators.WIDTH[tensor["data_type"]]
    flat = np.frombuffer(tensor["raw_data"], dtype) if "raw_data" in tensor else joined(tensor[typed], dtype)
    return flat.reshape([int(d) for d in joined(tensor["dims"], "i8")])
