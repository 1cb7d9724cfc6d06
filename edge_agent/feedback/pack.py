"""How does a window travel as a blob, and come back? A compressed .npz that any data team opens without us. Pure."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.messages import Diagnosis, Window

_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time in the archive: equal windows, equal bytes, one blob


def pack(window: Window) -> bytes:
    """`values` float32 [tags, rows], `quality` uint16 [tags, rows], `tags` as they are named, in one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, array in (("values", window.values), ("quality", window.quality), ("tags", np.array(window.tags, dtype=np.str_))):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), _npy(array), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.uint16], tuple[str, ...]]:
    """Values, quality and tags of a packed window. ValueError if it is none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return arrays["values"], arrays["quality"], tuple(map(str, arrays["tags"]))
    except (KeyError, AttributeError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as e:
        raise ValueError(f"not a packed window: {e}") from e


def describe(window: Window) -> dict[str, Any]:
    """What the record of a window says beside its blob."""
    return {
        "window": window.seq,
        "tags": list(window.tags),
        **_size(window),
        "start_ns": window.start_ns,
        "end_ns": window.end_ns,
        "cut_ns": window.cut_ns,
        "fit": window.fit,
        "reasons": list(window.reasons),
    }


def pictured(window: Window) -> bool:
    """Whether it is a camera's look, whether there is a picture or not."""
    return window.values.dtype == np.uint8


def _size(window: Window) -> dict[str, Any]:
    if not pictured(window):
        return {"rows": int(window.values.shape[1])}
    part = {} if window.part is None else {"part": window.part.number, "triggered_ns": window.part.triggered_ns}
    return {"rows": 1, "picture": list(window.values.shape), "quality": int(window.quality[0, 0]), **part}


def describe_diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis without what stands in the record's own columns; empty fields are left out."""
    fields: Mapping[str, Any] = {
        "window": diagnosis.window,
        "end_ns": diagnosis.end_ns,
        "status": diagnosis.status,
        "why": diagnosis.why,
        "score": diagnosis.score,
        "raw": diagnosis.raw,
        "lower": diagnosis.lower,
        "upper": diagnosis.upper,
        "confidence": diagnosis.confidence,
        "novelty": diagnosis.novelty,
        "label": diagnosis.label,
        "probabilities": dict(diagnosis.probabilities),
        "contributions": [list(pair) for pair in diagnosis.contributions],
        "votes": [list(ballot) for ballot in diagnosis.votes],
        "drifting": list(diagnosis.drifting),
        "regions": [region._asdict() for region in diagnosis.regions],
        "model": diagnosis.model,
        "model_hash": diagnosis.model_hash,
    }
    return {name: value for name, value in fields.items() if value not in (None, "", {}, [])}


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
