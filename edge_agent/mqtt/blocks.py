"""What does a block of waveform samples say? Bytes or a JSON list to float32 [n], and to one number where wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.messages import Quality, Value
from edge_agent.mqtt.address import Decode, Reduce

Block = NDArray[np.float32]
_WIRE: dict[str, np.dtype[Any]] = {"f32le": np.dtype("<f4"), "i16le": np.dtype("<i2")}
_LARGEST = float(np.finfo(np.float32).max)


def rms(block: NDArray[np.float64]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(block * block)))


def peak(block: NDArray[np.float64]) -> float:
    """Largest distance from zero."""
    return float(np.max(np.abs(block)))


def mean(block: NDArray[np.float64]) -> float:
    """Arithmetic mean."""
    return float(np.mean(block))


def kurtosis(block: NDArray[np.float64]) -> float:
    """Fourth moment over the squared variance (3 for a normal distribution); 0 for a constant block."""
    centred = block - np.mean(block)
    square = centred * centred
    variance = float(np.mean(square))
    return float(np.mean(square * square)) / variance**2 if variance > 1e-30 else 0.0


def crest(block: NDArray[np.float64]) -> float:
    """Peak over RMS; 0 for silence."""
    level = rms(block)
    return peak(block) / level if level > 0 else 0.0


FEATURES: dict[Reduce, Callable[[NDArray[np.float64]], float]] = {
    "rms": rms,
    "peak": peak,
    "mean": mean,
    "kurtosis": kurtosis,
    "crest": crest,
}


def reader(decode: Decode) -> Callable[[Any], tuple[Value, int]]:
    """A function from a payload (bytes) or a JSON list to value and quality. Never raises."""
    wire = _WIRE.get(decode.type)
    feature = FEATURES.get(decode.reduce)
    scale, offset = decode.scale, decode.offset

    def read(raw: Any) -> tuple[Value, int]:
        block = _from_bytes(raw, wire) if wire is not None else _from_list(raw)
        if block is None or not block.size or (decode.length and block.size != decode.length):
            return None, Quality.TYPE
        with np.errstate(invalid="ignore", over="ignore"):  # a signalling NaN is told by its quality, not by a warning
            wide = block.astype(np.float64) * scale + offset
        if not np.isfinite(wide).all() or np.max(np.abs(wide)) > _LARGEST:
            return None, Quality.NOT_FINITE
        if feature is None:
            return wide.astype(np.float32), Quality.GOOD
        with np.errstate(over="ignore"):
            value = feature(wide)
        return (value, Quality.GOOD) if np.isfinite(value) else (None, Quality.NOT_FINITE)

    return read


def _from_bytes(raw: bytes, wire: np.dtype[Any]) -> NDArray[Any] | None:
    return np.frombuffer(raw, wire) if len(raw) % wire.itemsize == 0 else None


def _from_list(raw: Any) -> NDArray[Any] | None:
    if type(raw) is not list or not all(type(x) is float or type(x) is int for x in raw):
        return None
    try:
        return np.array(raw, dtype=np.float64)
    except (OverflowError, ValueError):
        return None
