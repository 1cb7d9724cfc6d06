"""How is an ONNX Runtime session opened? One thread, no spinning, bounded arena, nothing reported home."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edge_agent.errors import ModelRefused

_MOST_BYTES = 4096  # of a choice


def open_session(model: bytes, where: str, *, threads: int = 1, provider: str = "CPUExecutionProvider") -> Any:
    """An onnxruntime.InferenceSession of admitted bytes. ModelRefused if the runtime will not have it."""
    ort = warm_import()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL  # INT8 is 4-6 times slower without
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # an arena never gives memory back after a new batch size (onnxruntime #11118)
    try:
        return ort.InferenceSession(model, options, providers=[provider])
    except Exception as e:  # the runtime's own exceptions share no base class but this one
        raise ModelRefused(f"{where}: the runtime does not open it: {str(e)[:300]}") from e


def chosen_file(bundle: Path) -> Path:
    """Where `models bench --write` keeps this box's choice: beside the bundle, not in what is signed."""
    return bundle.with_name(f"{bundle.name}.session.json")


def chosen_threads(bundle: Path, bundle_hash: str) -> int:
    """How many threads this box's choice gives the bundle; 1 where none was measured, or for another version, or none that makes sense."""
    try:
        with chosen_file(bundle).open("rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
        threads = said["threads"] if said["bundle"] == bundle_hash else 1
    except (OSError, ValueError, KeyError, TypeError):
        return 1
    return threads if isinstance(threads, int) and 1 <= threads <= len(os.sched_getaffinity(0)) else 1


def warm_import() -> Any:
    """The onnxruntime module, imported so that it talks to nobody."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # law 9: must stand before the import; disable_telemetry_events() is not enough
    import onnxruntime

    return onnxruntime
