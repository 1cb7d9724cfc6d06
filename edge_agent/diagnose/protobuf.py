"""What stands in these protobuf bytes? A strict reader that takes only what a schema names, in bounded time and depth.

Stricter than protobuf on purpose: an unknown field, a repeated singular field (protobuf merges or overrides) or a group is refused,
so that no other reader of the same bytes can see something else than we did.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["int", "float", "text", "bytes", "ints", "floats", "doubles", "message"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_TEXT = 4096


class Malformed(ValueError):
    """Not what the schema says."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, how it is read, whether it may stand more than once, and its own schema if it is a message."""

    name: str
    kind: Kind
    many: bool = False
    schema: Callable[[], Schema] | None = None


Schema = Mapping[int, Field]


@dataclass(slots=True)
class Budget:
    """How much may still be read: a hostile file can neither take long nor nest deeply."""

    fields: int
    depth: int = field(default=12)

    def spend(self, count: int = 1) -> None:
        self.fields -= count
        if self.fields < 0:
            raise Malformed("too many fields")


def read(raw: memoryview, schema: Schema, budget: Budget, what: str = "model") -> dict[str, Any]:
    """A message as {field name: value}. Lists for repeated fields; `bytes` stay memoryviews. Malformed."""
    if budget.depth < 0:
        raise Malformed(f"{what}: nested too deeply")
    found: dict[str, Any] = {f.name: [] for f in schema.values() if f.many or f.kind in ("ints", "floats", "doubles")}
    position = 0
    while position < len(raw):
        budget.spend()
        key, position = _varint(raw, position)
        entry = schema.get(key >> 3)
        if entry is None:
            raise Malformed(f"{what}: field {key >> 3} is not admitted")
        value, position = _value(raw, position, key & 7, entry, what)
        _store(found, entry, value, budget, f"{what}.{entry.name}")
    return found


def _store(found: dict[str, Any], entry: Field, value: Any, budget: Budget, what: str) -> None:
    if entry.kind in ("ints", "floats", "doubles"):
        found[entry.name].append(value)
        return
    if entry.kind == "message" and entry.schema:
        budget.depth -= 1
        value = read(value, entry.schema(), budget, what)
        budget.depth += 1
    if entry.many:
        found[entry.name].append(value)
    elif entry.name in found:
        raise Malformed(f"{what}: stands twice")
    else:
        found[entry.name] = value


def _value(raw: memoryview, position: int, wire: int, entry: Field, what: str) -> tuple[Any, int]:
    """The field's value and the position behind it. A repeated number may stand packed or alone."""
    if wire == _VARINT and entry.kind in ("int", "ints"):
        number, position = _varint(raw, position)
        return (_signed(number) if entry.kind == "int" else np.array([_signed(number)], dtype=np.int64)), position
    if wire == _FIXED32 and entry.kind in ("float", "floats"):
        chunk = _take(raw, position, 4, what)
        return (struct.unpack("<f", chunk)[0] if entry.kind == "float" else np.frombuffer(chunk, "<f4")), position + 4
    if wire == _FIXED64 and entry.kind == "doubles":
        return np.frombuffer(_take(raw, position, 8, what), "<f8"), position + 8
    if wire == _BYTES and entry.kind not in ("int", "float"):
        size, position = _varint(raw, position)
        return _unpack(_take(raw, position, size, what), entry, what), position + size
    raise Malformed(f"{what}.{entry.name}: wire type {wire} is not admitted here")


def _unpack(chunk: memoryview, entry: Field, what: str) -> Any:
    if entry.kind == "text":
        if len(chunk) > _MAX_TEXT:
            raise Malformed(f"{what}.{entry.name}: a text of {len(chunk)} bytes")
        try:
            return str(chunk, "utf-8")
        except UnicodeDecodeError as e:
            raise Malformed(f"{what}.{entry.name}: not UTF-8") from e
    if entry.kind == "ints":
        return packed_ints(chunk, f"{what}.{entry.name}")
    if entry.kind in ("floats", "doubles"):
        width = 4 if entry.kind == "floats" else 8
        if len(chunk) % width:
            raise Malformed(f"{what}.{entry.name}: {len(chunk)} bytes are not a whole number of values")
        return np.frombuffer(chunk, f"<f{width}")
    return chunk


def packed_ints(chunk: memoryview, what: str) -> NDArray[np.int64]:
    """Packed varints, decoded in numpy so that a megabyte of them takes milliseconds."""
    data = np.frombuffer(chunk, dtype=np.uint8)
    ends = np.flatnonzero(data < 0x80)
    if data.size and (not ends.size or ends[-1] != data.size - 1):
        raise Malformed(f"{what}: truncated")
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > 10:
        raise Malformed(f"{what}: a number of more than 10 bytes")
    values = np.zeros(ends.size, dtype=np.uint64)
    for i in range(int(lengths.max()) if lengths.size else 0):
        has = lengths > i
        values[has] |= (data[starts[has] + i].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * i)
    return values.view(np.int64)


def joined(chunks: list[NDArray[Any]], dtype: str) -> NDArray[Any]:
    """The parts of a repeated number as one array."""
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=dtype)


def _take(raw: memoryview, position: int, size: int, what: str) -> memoryview:
    if size > len(raw) - position:
        raise Malformed(f"{what}: truncated: {size} bytes are said to follow, {len(raw) - position} do")
    return raw[position : position + size]


def _varint(raw: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(raw):
            raise Malformed("truncated in a number")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Malformed("a number of more than 64 bits")
            return value, position
    raise Malformed("a number of more than 10 bytes")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
