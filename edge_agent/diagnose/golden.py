"""Do inputs give the very outputs that they gave on the training machine? Reads, writes and compares golden vectors."""

from __future__ import annotations

import ast
import io
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.card import Card
from edge_agent.errors import ModelRefused

Arrays = dict[str, NDArray[np.float32]]

MAX_BYTES = 32 << 20  # of all arrays together, unpacked
_MAX_ARRAYS = 32
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: the same vectors give the same bytes


def dump(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Arrays to the bytes of an .npz, the same every time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name], dtype=np.float32), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def load(raw: bytes, where: str = "golden.npz") -> Arrays:
    """An .npz of float32 arrays. No pickles, and nothing is allocated on the file's word alone. ModelRefused."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS or sum(m.file_size for m in members) > MAX_BYTES:
                raise ModelRefused(f"{where}: more than {_MAX_ARRAYS} arrays or {MAX_BYTES} bytes")
            return {m.filename.removesuffix(".npy"): _array(_member(archive, m), f"{where}: {m.filename}") for m in members}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, KeyError, struct.error) as e:
        raise ModelRefused(f"{where}: not an .npz file: {e}") from e
    except ValueError as e:
        raise ModelRefused(f"{where}: {e}") from e


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    import zlib

    try:
        with archive.open(member) as file:
            return file.read(member.file_size + 1)  # a member that is longer than it says stops here
    except zlib.error as e:
        raise ValueError(f"{member.filename}: damaged: {e}") from e


def _array(raw: bytes, where: str) -> NDArray[np.float32]:
    """An .npy of version 1: magic, two bytes of version, length and text of the header, then the values."""
    if raw[:8] != b"\x93NUMPY\x01\x00" or len(raw) < 10:
        raise ModelRefused(f"{where}: not a plain .npy array")
    (length,) = struct.unpack_from("<H", raw, 8)
    header = _header(raw[10 : 10 + length], where)
    shape, body = header["shape"], raw[10 + length :]
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape) or len(shape) > 4:
        raise ModelRefused(f"{where}: impossible shape {shape}")
    if header["descr"] != "<f4" or header["fortran_order"] or math.prod(shape) * 4 != len(body):
        raise ModelRefused(f"{where}: not float32 values of shape {shape} in C order")
    return np.frombuffer(body, dtype="<f4").reshape(shape)


def _header(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = ast.literal_eval(text.decode("ascii")) if len(text) < 1000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError) as e:
        raise ModelRefused(f"{where}: damaged header") from e
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise ModelRefused(f"{where}: damaged header")
    return found


def split(arrays: Arrays, card: Card, where: str = "golden.npz") -> tuple[Arrays, Arrays]:
    """The arrays as (inputs, outputs) of the graph, checked against the card. ModelRefused."""
    expected = {f"in_{n}": s for n, s in card.inputs().items()} | {f"out_{n}": s for n, s in card.outputs().items()}
    if set(arrays) != set(expected):
        raise ModelRefused(f"{where}: holds {', '.join(sorted(arrays)) or 'nothing'}; the card asks for {', '.join(sorted(expected))}")
    batch = min((a.shape[0] if a.ndim else 0) for a in arrays.values())
    for name, shape in expected.items():
        if batch < 1 or arrays[name].shape != (batch, *shape):
            raise ModelRefused(f"{where}: {name} has shape {list(arrays[name].shape)}; expected {[max(batch, 1), *shape]}")
        if not np.isfinite(arrays[name]).all():
            raise ModelRefused(f"{where}: {name} holds NaN or infinity")
    inputs = {n: arrays[f"in_{n}"] for n in card.inputs()}
    return inputs, {n: arrays[f"out_{n}"] for n in card.outputs()}


def compare(got: Mapping[str, NDArray[Any]], golden: Arrays, card: Card) -> None:
    """ModelRefused if an output lies farther from its golden vector than the card allows."""
    for name, expected in golden.items():
        found = got[name].astype(np.float64)
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise ModelRefused(f"{card.name}: output {name} is not finite or not of shape {list(expected.shape)} on this processor")
        excess = np.abs(found - expected) - (card.golden.atol + card.golden.rtol * np.abs(expected))
        if excess.size and excess.max() > 0:
            worst = np.unravel_index(int(excess.argmax()), excess.shape)
            raise ModelRefused(
                f"{card.name}: output {name} is {found[worst]:.6g} on this processor where {expected[worst]:.6g} was promised "
                f"(rtol {card.golden.rtol:g}, atol {card.golden.atol:g}); quantize for this processor or use the FP32 model"
            )
