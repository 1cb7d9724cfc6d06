"""May this graph be given to the runtime? An own walk over its bytes; nothing is executed and nothing trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import onnx_schema, operators
from edge_agent.diagnose.card import Card
from edge_agent.diagnose.protobuf import Budget, Malformed, joined, read
from edge_agent.errors import ModelRefused

_FLOAT32 = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a graph may be at most."""

    bytes: int = 64 << 20
    nodes: int = 5000
    tensors: int = 10_000
    fields: int = 500_000  # of the file; bounds the time of the walk
    elements: int = 1 << 24  # of one tensor
    growth: int = 1 << 20  # what a size-giving constant may multiply to
    spatial: int = 1 << 16  # kernel, stride, pad, dilation, output size
    attributes: int = 256  # of one node
    values: int = 1 << 20  # in one attribute


def admit(raw: bytes, card: Card, where: str, limits: Limits | None = None) -> bool:
    """Whether the batch is open (else it is 1). ModelRefused, with the reason, unless the graph is harmless and is what the card says."""
    limits = limits or Limits()
    if len(raw) > limits.bytes:
        raise ModelRefused(f"{where}: {len(raw)} bytes; at most {limits.bytes} are admitted")
    try:
        model = read(memoryview(raw), onnx_schema.MODEL, Budget(limits.fields))
        return _Walk(model, limits).check(card)
    except Malformed as e:
        raise ModelRefused(f"{where}: {e}") from e


class _Walk:
    def __init__(self, model: Mapping[str, Any], limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._constants: dict[str, NDArray[Any]] = {}
        self._known: set[str] = {""}  # an empty name is an optional input left out
        self._versions: dict[str, int] = {}

    def check(self, card: Card) -> bool:
        """Whether the batch is open."""
        graph = self._model.get("graph")
        if graph is None:
            raise Malformed("there is no graph in it")
        self._opsets()
        for what, count, most in (
            ("nodes", len(graph["node"]), self._limits.nodes),
            ("tensors", len(graph["initializer"]) + len(graph["value_info"]), self._limits.tensors),
        ):
            if count > most:
                raise Malformed(f"{count} {what}; at most {most} are admitted")
        self._interface(graph["input"], card.inputs(), "input")
        self._interface(graph["output"], card.outputs(), "output")
        for tensor in graph["initializer"]:
            self._new(tensor.get("name", ""), "initializer")
            self._constants[tensor["name"]] = self._tensor(tensor, f"initializer {tensor['name']}")
        for info in graph["value_info"]:
            _shape_of(info, f"value {info.get('name', '')}", self._limits.elements)
        for node in graph["node"]:
            self._node(node)
        if missing := [v["name"] for v in graph["output"] if v["name"] not in self._known]:
            raise Malformed(f"output {missing[0]} is made by no node")
        return self._open_batch(graph)

    def _open_batch(self, graph: Mapping[str, Any]) -> bool:
        """Whether every input takes any number of windows; one that takes 1 fixes it for all."""
        fixed = any(_first(v) == 1 for v in graph["input"])
        if not fixed and any(_first(v) == 1 for v in graph["output"]):
            raise Malformed("an output has one row whatever the batch is")
        return not fixed

    def _opsets(self) -> None:
        if not 4 <= self._model.get("ir_version", 0) <= 13:
            raise Malformed(f"IR version {self._model.get('ir_version', 0)}; 4 to 13 are admitted")
        if any(entry.get("key", "").startswith("ort") for entry in self._model["metadata_props"]):
            raise Malformed("its metadata gives orders to the runtime (a key that starts with 'ort')")
        for entry in self._model["opset_import"]:
            domain, version = _domain(entry), entry.get("version", 0)
            low, high = operators.OPSETS.get(domain, (1, 1 << 16))  # a domain that no node uses is harmless
            if not low <= version <= high:
                raise Malformed(
                    f"operator set {domain or 'ai.onnx'} {version}; {low} to {high} are admitted: export it again with one of these"
                )
            if self._versions.setdefault(domain, version) != version:
                raise Malformed(f"operator set {domain or 'ai.onnx'} stands twice")

    def _interface(self, values: list[dict[str, Any]], expected: Mapping[str, tuple[int, ...]], what: str) -> None:
        names = [v.get("name", "") for v in values]
        if sorted(names) != sorted(expected):
            raise Malformed(f"{what}s of the graph: {', '.join(names) or 'none'}; the card says {', '.join(expected)}")
        for value in values:
            name = value["name"]
            kind, shape = _shape_of(value, f"{what} {name}", self._limits.elements)
            if kind != _FLOAT32:
                raise Malformed(f"{what} {name} is of element type {kind}; it must be float32")
            if shape is None or len(shape) != 1 + len(expected[name]) or tuple(shape[1:]) != expected[name] or shape[0] not in (None, 1):
                raise Malformed(f"{what} {name} has shape {_text(shape)}; the card says {_text([None, *expected[name]])} with N open or 1")
            if what == "input":
                self._new(name, "input")

    def _new(self, name: str, what: str) -> None:
        if name in self._known:
            raise Malformed(f"{what}: the name {name!r} is empty or taken")
        self._known.add(name)

    def _tensor(self, tensor: Mapping[str, Any], where: str) -> NDArray[Any]:
        """The tensor's values; refused unless the file really holds them, all of them, and they are finite."""
        if tensor["external_data"] or tensor.get("data_location", 0):
            raise Malformed(f"{where}: its data lies outside the file")
        dims = [int(d) for d in joined(tensor["dims"], "i8")]
        if len(dims) > 8 or any(d < 0 for d in dims) or math.prod(dims) > self._limits.elements:
            raise Malformed(f"{where}: shape {dims}; at most {self._limits.elements} elements are admitted")
        values = _values(tensor, where)
        if values.size != math.prod(dims):
            raise Malformed(f"{where}: shape {dims} but {values.size} values in the file")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise Malformed(f"{where}: holds NaN or infinity")
        return values.reshape(dims)

    def _node(self, node: Mapping[str, Any]) -> None:
        domain, op = _domain(node), node.get("op_type", "")
        where = f"node {node.get('name') or ', '.join(node['output'])} ({op})"
        if op in operators.CONTROL_FLOW or any(a["graphs"] or "g" in a for a in node["attribute"]):
            raise Malformed(f"{where}: control flow (graphs within graphs) is not admitted")
        if op not in operators.ALLOWED.get(domain, frozenset()):
            raise Malformed(f"{where}: operator {domain + '.' if domain else ''}{op} is not on the list of admitted ones")
        if domain not in self._versions:
            raise Malformed(f"{where}: uses the domain {domain or 'ai.onnx'} without naming its version")
        if unknown := [name for name in node["input"] if name not in self._known]:
            raise Malformed(f"{where}: input {unknown[0]!r} is not known at this place; nodes must be in order")
        self._attributes(node, where)
        self._growth(node, domain, where)
        for name in filter(None, node["output"]):
            self._new(name, where)

    def _attributes(self, node: Mapping[str, Any], where: str) -> None:
        attributes = node["attribute"]
        if len(attributes) > self._limits.attributes:
            raise Malformed(f"{where}: {len(attributes)} attributes; at most {self._limits.attributes}")
        if len({a.get("name") for a in attributes}) != len(attributes):
            raise Malformed(f"{where}: an attribute stands twice")
        for attribute in attributes:
            place = f"{where}: attribute {attribute.get('name', '')}"
            self._numbers(attribute, place)
            if "t" in attribute:
                value = self._tensor(attribute["t"], place)
                if node.get("op_type") == "Constant" and len(node["output"]) == 1:
                    self._constants[node["output"][0]] = value

    def _numbers(self, attribute: Mapping[str, Any], place: str) -> None:
        ints = np.append(joined(attribute["ints"], "i8"), attribute.get("i", 0))
        floats = np.append(joined(attribute["floats"], "f4"), attribute.get("f", 0.0))
        if max(ints.size, floats.size, len(attribute["strings"])) > self._limits.values:
            raise Malformed(f"{place}: more than {self._limits.values} values")
        if not np.isfinite(floats).all():
            raise Malformed(f"{place}: holds NaN or infinity")
        low, high = int(ints.min()), int(ints.max())
        bound = self._limits.spatial if attribute.get("name") in _SPATIAL else (1 << 31) - 1
        if low < -bound or high > bound:
            raise Malformed(f"{place}: {low if low < -bound else high} lies beyond {bound}")

    def _growth(self, node: Mapping[str, Any], domain: str, where: str) -> None:
        op, inputs = node["op_type"], node["input"]
        for index in operators.GROWS_BY.get(op, ()) if domain == "" else ():
            if index >= len(inputs) or not inputs[index]:
                continue
            constant = self._constants.get(inputs[index])
            if constant is None:
                raise Malformed(f"{where}: how large its output gets must be a constant in the file; fold it when you export")
            self._small(constant, op, index, where)
        if op == "Range" and len(inputs) == 3:
            start, stop, step = (float(self._constants[i].reshape(-1)[0]) if self._constants[i].size else 0.0 for i in inputs)
            if not step or abs((stop - start) / step) > self._limits.growth:
                raise Malformed(f"{where}: a range from {start:g} to {stop:g} by {step:g}")

    def _small(self, constant: NDArray[Any], op: str, index: int, where: str) -> None:
        values = [abs(float(v)) for v in constant.reshape(-1)[:16]]
        grown = sum(values) if op == "Pad" else math.prod(max(v, 1.0) for v in values)
        if constant.size > 16 or (op != "Range" and grown > self._limits.growth):
            raise Malformed(f"{where}: input {index} asks for {grown:.3g} elements; at most {self._limits.growth} are admitted")


_SPATIAL = frozenset({"kernel_shape", "strides", "pads", "dilations", "output_shape", "output_padding", "output_height", "output_width"})


def _domain(entry: Mapping[str, Any]) -> str:
    domain = str(entry.get("domain", ""))
    return "" if domain == "ai.onnx" else domain


def _values(tensor: Mapping[str, Any], where: str) -> NDArray[Any]:
    kind = tensor.get("data_type", 0)
    if kind not in operators.WIDTH:
        raise Malformed(f"{where}: element type {kind} is not admitted")
    dtype, typed = operators.WIDTH[kind]
    filled = [n for n in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data") if tensor[n]]
    if "raw_data" in tensor:
        if filled or len(tensor["raw_data"]) % np.dtype(dtype).itemsize:
            raise Malformed(f"{where}: raw data of {len(tensor['raw_data'])} bytes beside {', '.join(filled) or 'nothing'}")
        return np.frombuffer(tensor["raw_data"], dtype)
    if [n for n in filled if n != typed]:
        raise Malformed(f"{where}: {', '.join(filled)} in a tensor of element type {kind}")
    values = joined(tensor[typed], dtype)
    return values.astype(np.uint16).view(np.float16) if dtype == "<f2" else values


def _shape_of(value: Mapping[str, Any], where: str, elements: int) -> tuple[int, list[int | None] | None]:
    """Element type and shape; None stands for an open dimension."""
    tensor = value.get("type", {}).get("tensor_type")
    if tensor is None:
        raise Malformed(f"{where}: not a tensor")
    if "shape" not in tensor:
        return tensor.get("elem_type", 0), None
    shape = [d.get("dim_value") for d in tensor["shape"]["dim"]]
    if any(d is not None and d < 0 for d in shape) or math.prod(d or 1 for d in shape) > elements:
        raise Malformed(f"{where}: shape {_text(shape)}; at most {elements} elements are admitted")
    return tensor.get("elem_type", 0), shape


def _first(value: Mapping[str, Any]) -> int | None:
    dimension: int | None = value["type"]["tensor_type"]["shape"]["dim"][0].get("dim_value")
    return dimension


def _text(shape: list[int | None] | None) -> str:
    return "unknown" if shape is None else f"[{', '.join('N' if d is None else str(d) for d in shape)}]"
