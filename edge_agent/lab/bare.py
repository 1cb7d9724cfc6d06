"""Which bundle would this bare ONNX file make? Enough of a card to quantize it by; never written, never installed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edge_agent import plugin
from edge_agent.diagnose import admission
from edge_agent.diagnose import card as cards
from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab.data import DataRefused

_NOTHING = {"data": "", "data_licence": ""}


def read(file: Path, card: Path | None = None) -> Bundle:
    """From the file and, if there is one, its card; otherwise from the graph's own shapes. DataRefused, ModelRefused."""
    try:
        graph = file.read_bytes()
    except OSError as e:
        raise DataRefused(f"{file}: cannot be read: {e.strerror}") from e
    checked = cards.parse(card.read_bytes(), str(card)) if card else cards.check(_guessed(graph, file), str(file))
    batched = admission.admit(graph, checked, str(file))
    config = plugin.load("head", checked.head["type"]).Config.model_validate(checked.head, strict=False)
    digest = hashlib.sha256(graph).hexdigest()
    return Bundle(
        path=file,
        card=checked,
        model=graph,
        fp32=graph,
        golden_inputs={},
        golden_outputs={},
        hash=digest,
        model_hash=digest,
        batch=64 if batched else 1,
        inputs=checked.inputs(),
        outputs=checked.outputs(),
        signed_by=None,
        head_config=config,
    )


def _guessed(graph: bytes, file: Path) -> dict[str, Any]:
    """One input [N, C, W]; one output: [N] is a score, [N, K] are logits or probabilities (the order is the same)."""
    import onnx

    try:
        model = onnx.load_from_string(graph)
    except Exception as e:  # protobuf raises its own kinds and plain ones
        raise DataRefused(f"{file}: not an ONNX file: {str(e)[:200]}") from e
    inputs = {v.name: _shape(v) for v in model.graph.input}
    windows = [name for name, shape in inputs.items() if len(shape) == 3]
    outputs = {v.name: _shape(v) for v in model.graph.output}
    if len(inputs) != 1 or len(windows) != 1 or len(outputs) != 1:
        raise DataRefused(
            f"{file}: inputs {inputs}, outputs {outputs}; without a card it must take one window [N, channels, rows] and give one output; "
            "write a card and pass it with --card"
        )
    channels, rows = inputs[windows[0]][1:]
    (output, shape), *_ = outputs.items()
    kinds = _classify(output, shape[1]) if len(shape) == 2 else {"head": {"type": "anomaly"}, "outputs": {"score": output}}
    return {
        "format": 1,
        "name": "bare",
        "version": "0",
        "head": kinds["head"],
        "window": {"rows": rows},
        "roles": [{"role": f"channel{i}"} for i in range(channels)],
        "graph": {"window": windows[0], "outputs": kinds["outputs"]},
        "intended": {"use": "none: a file without a card", "tier": 0},
        "provenance": _NOTHING,
    }


def _classify(output: str, count: int) -> dict[str, Any]:
    labels = [str(i) for i in range(count)]
    return {"head": {"type": "classify", "labels": labels, "normal": "0"}, "outputs": {"logits": output}}


def _shape(value: Any) -> list[int]:
    return [int(d.dim_value) for d in value.type.tensor_type.shape.dim]
