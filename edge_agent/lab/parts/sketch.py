"""How is a graph put together from pieces? Nodes and constants are added by functions that take and give names of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_OPSET, _IR = 18, 10  # where the axes of a reduction are an input and those of a DFT an attribute


class Sketch:
    """A graph in the making. Tensors are float32 unless said otherwise; the first axis is the batch."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; the output's name."""
        from onnx import helper

        name = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant; the same value is kept once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(value, dtype=dtype)
        known = (array.dtype.str, array.shape, array.tobytes())
        name = f"constant_{len(self._constants)}"
        for other, (seen, _) in self._constants.items():
            if seen == known:
                return other
        self._constants[name] = (known, numpy_helper.from_array(array, name))
        return name

    def whole(self, *values: int) -> str:
        """The name of a constant list of whole numbers: axes, sizes."""
        return self.constant(list(values), np.int64)

    def mean(self, x: str, axis: int = -1, *, keep: bool = False) -> str:
        """Mean over an axis."""
        return self.node("ReduceMean", x, self.whole(axis), keepdims=int(keep))

    def sum(self, x: str, axis: int = -1, *, keep: bool = False) -> str:
        """Sum over an axis."""
        return self.node("ReduceSum", x, self.whole(axis), keepdims=int(keep))

    def finish(self, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
        """The model. `inputs`: name -> shape behind the batch; `outputs`: name -> (tensor, shape behind the batch)."""
        from onnx import checker, helper

        last = [helper.make_node("Identity", [tensor], [name], name=f"output_{name}") for name, (tensor, _) in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *last],
            "parts",
            [_value(name, shape) for name, shape in inputs.items()],
            [_value(name, shape) for name, (_, shape) in outputs.items()],
            [tensor for _, tensor in self._constants.values()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="edge-agent")
        checker.check_model(model)
        made: bytes = model.SerializeToString()
        return made


def _value(name: str, shape: Sequence[int]) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
