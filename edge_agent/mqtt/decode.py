"""What does a payload say? Bytes to (value, quality, source time). Pure: no clock, no log; never raises."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

from edge_agent.messages import Quality, Value
from edge_agent.mqtt.address import Decode
from edge_agent.mqtt.blocks import reader as block_reader
from edge_agent.mqtt.paths import MISSING, Missing, getter
from edge_agent.mqtt.stamps import stamp

Fact = tuple[Value, int, int | None]
"""Value, quality, source time in ns (None: the payload has none)."""

_GOOD, _TYPE, _NOT_FINITE = int(Quality.GOOD), int(Quality.TYPE), int(Quality.NOT_FINITE)
_UNDECODABLE: list[Fact] = [(None, _TYPE, None)]
_LONGEST_NUMBER = 64
_LONGEST_TEXT = 4096
_WORDS = {b"true": True, b"1": True, b"on": True, b"false": False, b"0": False, b"off": False}
_SEVERITY = {"good": _GOOD, "uncertain": int(Quality.UNCERTAIN), "bad": int(Quality.BAD)}
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError, OverflowError)


def document(payload: bytes) -> Any:
    """The JSON in a payload, MISSING where there is none. NaN and Infinity, which many devices send, are understood."""
    try:
        return msgspec.json.decode(payload)
    except _NO_JSON:
        if b"NaN" not in payload and b"Infinity" not in payload:
            return MISSING
    try:
        return json.loads(payload)
    except _NO_JSON:
        return MISSING


class Decoder:
    """Reads one tag out of payloads. `wants_json`: give it the document instead of the bytes."""

    def __init__(self, decode: Decode) -> None:
        self.wants_json = decode.type == "json"
        self.read: Callable[[Any], list[Fact]] = _of_json(decode) if self.wants_json else _of_bytes(decode)


def _of_bytes(decode: Decode) -> Callable[[Any], list[Fact]]:
    if decode.block:
        block = block_reader(decode)
        return lambda payload: [(*block(payload), None)]
    parse = {"number": _number, "text": _text, "bool": _bool}[decode.type]
    finish = _finisher(decode)
    return lambda payload: [(*finish(parse(payload)), None)]


def _of_json(decode: Decode) -> Callable[[Any], list[Fact]]:
    one = _of_item(decode)
    if decode.batch is None:
        return lambda doc: _UNDECODABLE if doc is MISSING else [one(doc)]
    items = getter(decode.batch)
    step_ns = 1e9 / decode.rate if decode.rate else None

    def read(doc: Any) -> list[Fact]:
        found = items(doc)
        if type(found) is not list:
            return _UNDECODABLE
        facts = [one(item) for item in found]
        return _spread(facts, step_ns) if step_ns and decode.time else facts

    return read


def _spread(facts: list[Fact], step_ns: float) -> list[Fact]:
    """Where only the last item of a batch has a time, the ones before lie `step_ns` apart."""
    if not facts or (last := facts[-1][2]) is None or any(fact[2] is not None for fact in facts[:-1]):
        return facts
    count = len(facts)
    good = ~int(Quality.UNCERTAIN)
    return [(value, quality & good, round(last - (count - 1 - i) * step_ns)) for i, (value, quality, _) in enumerate(facts)]


def _of_item(decode: Decode) -> Callable[[Any], Fact]:
    value_at = getter(decode.path)
    finish: Callable[[Any], tuple[Value, int]] = block_reader(decode) if decode.block else _finisher(decode)
    if decode.time is None and decode.quality is None:
        return lambda item: (*finish(value_at(item)), None)
    time_at, instant = getter(decode.time), stamp(decode.time_format)
    quality_of = _quality(decode)

    def read(item: Any) -> Fact:
        value, quality = finish(value_at(item))
        source = None
        if decode.time is not None and (source := instant(time_at(item))) is None:
            quality |= int(Quality.UNCERTAIN)  # the device meant to say when, and did not
        return value, quality | quality_of(item), source

    return read


def _quality(decode: Decode) -> Callable[[Any], int]:
    if decode.quality is None:
        return lambda item: _GOOD
    word_at = getter(decode.quality.path)
    words = {word.lower(): _SEVERITY[meaning] for word, meaning in decode.quality.map.items()}

    def read(item: Any) -> int:
        word = word_at(item)
        plain = type(word) in (str, int, bool)
        return words.get(str(word).lower(), int(Quality.BAD)) if plain and not _huge(word) else int(Quality.BAD)

    return read


def _finisher(decode: Decode) -> Callable[[Any], tuple[Value, int]]:
    """From a raw scalar to value and quality: finite, bounded, scaled."""
    scale, offset = decode.scale, decode.offset
    plain = scale == 1.0 and offset == 0.0

    def finish(raw: Any) -> tuple[Value, int]:
        kind = type(raw)
        if kind is bool or (kind is str and len(raw) <= _LONGEST_TEXT):
            return raw, _GOOD
        if kind is int and _huge(raw):
            return None, _NOT_FINITE
        if kind is not float and kind is not int:
            return None, _TYPE
        value = raw if plain else raw * scale + offset
        return (value, _GOOD) if isfinite(value) else (None, _NOT_FINITE)

    return finish


def _huge(value: Any) -> bool:
    """A whole number that no 64-bit field holds."""
    return type(value) is int and not -(1 << 63) <= value < 1 << 63


def _number(payload: bytes) -> float | Missing:
    try:
        return float(payload) if len(payload) <= _LONGEST_NUMBER and b"_" not in payload else MISSING
    except ValueError:
        return MISSING


def _text(payload: bytes) -> str | Missing:
    try:
        return payload.decode() if len(payload) <= _LONGEST_TEXT * 4 else MISSING
    except UnicodeDecodeError:
        return MISSING


def _bool(payload: bytes) -> bool | Missing:
    return _WORDS.get(payload.strip().lower(), MISSING) if len(payload) <= _LONGEST_NUMBER else MISSING
