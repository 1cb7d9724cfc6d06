"""Malformed input of every kind: it is read, or refused in words; never a crash, never a hang.

Inputs are mutations of good ones: bits, bytes, pieces doubled, moved, cut, numbers of the kind that break readers. A long run goes
on for some time at each reader; how many inputs that were is in the figures.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.api.access import Denied
from edge_agent.api.handlers import _parsed
from edge_agent.api.models import CursorIn, LabelIn
from edge_agent.config.load import parse
from edge_agent.diagnose import admission, card, manifest
from edge_agent.errors import ConfigError, ModelRefused
from edge_agent.mqtt import envelope
from edge_agent.mqtt.address import Decode, Envelope
from edge_agent.mqtt.decode import Decoder, document
from edge_agent.mqtt.frames import Malformed, Slicer

HANG_S = 0.1  # of this thread's own time, more than a good input of the same size takes
ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "demo-pump"
HARSH = [b"", b"\x00", b"\xff" * 9, b"-1", b"1e999", b"NaN", b"9" * 40, b"[" * 300, b"{" * 300, b"\xf0\x9f\x98\x80"]
HARSH += [b"&a *a", b"!!python/x ", b"\n- ", b": "]
KEY = "a shared secret of the plant"

CONFIG = b"""\
version: 1
agent: {name: a1, owner: acme}
connectors: {plc: {type: sim}, bus: {type: mqtt, url: "mqtt://10.0.0.5"}}
tags:
  flow: {from: plc, unit: l/min, range: [0, 60], max_age: 3 s}
  level: {from: bus, topic: a/b, decode: {type: json, path: "v[0].x"}}
  trim: {from: plc, unit: rpm, write: true}
loops:
  p1:
    mode: advise
    tier: 1
    perceive: {tags: [flow], every: 1 s, window: 60}
    diagnose: {model: m}
    decide: {policy: rules, states: {normal: [{when: score > 0.8, for: 5 s, go: high}], high: [{when: score < 0.2, go: normal}]}}
    execute: {trim: {limits: [-300, 300], step: 10, rate: 50/min}}
templates: {}
"""
JSON = b'{"v": [{"x": 1.5}], "t": 1700000000000, "q": "good", "items": [{"v": [{"x": 2}]}]}'
PUBLISH = b"\x32\x11\x00\x05plant\x00\x01\x0312345678" + b"\x30\x09\x00\x01a\x00hello" + b"\xd0\x00"


@dataclass(frozen=True)
class Reader:
    """What takes input from outside, a good one of its kind, and how it may refuse."""

    take: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = ()


def _decode(raw: bytes) -> None:
    for decoder in _DECODERS:
        for value, _, source in decoder.read(document(raw) if decoder.wants_json else raw):
            assert not isinstance(value, float) or value - value == 0
            assert source is None or isinstance(source, int)


def _slice(raw: bytes) -> None:
    for v5 in (False, True):
        slicer = Slicer(v5=v5, limit=1000)
        try:
            slicer.feed(raw[: len(raw) // 2])
            slicer.feed(raw[len(raw) // 2 :])
        except Malformed:
            continue


def _command(raw: bytes) -> None:
    verdict = envelope.verify(raw, "a", KEY.encode(), now_ms=1_700_000_000_100, last_seq=6, retained=False)
    assert verdict.command is None or raw == _SEALED, "a changed command was taken"


def _configure(raw: bytes) -> None:
    parse(raw.decode("utf-8", "replace"), resolve_secrets=False)


_DECODERS = [
    Decoder(Decode.model_validate(spec))
    for spec in (
        {"type": "number"},
        {"type": "text"},
        {"type": "bool"},
        {"type": "f32le", "length": 8, "reduce": "rms"},
        {"type": "i16le", "reduce": "kurtosis"},
        {"type": "json", "path": "v[0].x", "time": "t", "quality": {"path": "q"}, "scale": 2.0},
        {"type": "json", "batch": "items", "path": "v[0].x", "rate": "10 Hz"},
        {"type": "json", "path": "t", "time": "t", "time_format": "iso"},
    )
]
_SEALED = envelope.seal(-200.0, "a", Envelope.model_validate({"sign": KEY}), seq=7, issued_ms=1_700_000_000_000, expiry_s=5.0, by="ipc1")
_CARD = card.parse((BUNDLE / "card.yaml").read_bytes())

READERS = {
    "MQTT payloads": Reader(_decode, (JSON, b"12.5", b"\x00\x00\x80\x3f" * 8)),
    "MQTT packets": Reader(_slice, (PUBLISH,)),
    "commands": Reader(_command, (_SEALED,)),
    "configuration": Reader(_configure, (CONFIG,), (ConfigError,)),
    "card": Reader(card.parse, ((BUNDLE / "card.yaml").read_bytes(),), (ModelRefused,)),
    "manifest": Reader(manifest.parse, ((BUNDLE / "manifest.json").read_bytes(),), (ModelRefused,)),
    "graph": Reader(lambda raw: admission.admit(raw, _CARD, "model"), ((BUNDLE / "model.onnx").read_bytes(),), (ModelRefused,)),
    "labels": Reader(lambda raw: _parsed(LabelIn, raw), (b'{"seq": [1, 2], "value": "leak", "note": "n", "by": "li"}',), (Denied,)),
    "cursors": Reader(lambda raw: _parsed(CursorIn, raw), (b'{"epoch": 1, "seq": 12}',), (Denied,)),
}


def mutations(seeds: tuple[bytes, ...], rng: random.Random) -> Iterator[bytes]:
    """For ever; the seeds themselves first, which have to be taken."""
    yield from seeds
    while True:
        raw = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at, size = rng.randrange(len(raw) + 1), rng.choice((1, 1, 2, 4, 8, 30))
            match rng.randrange(6):
                case 0 if at < len(raw):
                    raw[at] ^= 1 << rng.randrange(8)
                case 1:
                    raw[at : at + size] = rng.randbytes(size)
                case 2:
                    del raw[at : at + size]
                case 3:
                    raw[at:at] = raw[at : at + size] * rng.choice((1, 2, 50))
                case 4:
                    raw[at:at] = rng.choice(HARSH)
                case _:
                    start = rng.randrange(len(raw) + 1)
                    raw[at:at] = raw[start : start + size]
        yield bytes(raw)


def attack(reader: Reader, seed: int, enough: Callable[[int], bool]) -> tuple[int, int, float]:
    """Inputs, refused ones, the slowest one's time above the good ones'."""
    refused = 0
    slowest = usual = 0.0
    for inputs, raw in enumerate(mutations(reader.seeds, random.Random(seed))):
        if enough(inputs):
            return inputs, refused, slowest
        start = time.thread_time()
        try:
            reader.take(raw)
        except reader.refuses as e:
            refused += 1
            assert str(e), raw
            assert inputs >= len(reader.seeds), f"a good one was refused: {e}"
        took = time.thread_time() - start
        if inputs < len(reader.seeds):
            usual = max(usual, took)
        elif took - 3 * usual > slowest:
            slowest = took - 3 * usual
            assert slowest <= HANG_S or _slow_again(reader, raw) - 3 * usual <= HANG_S, raw
    raise AssertionError("mutations end")


def _slow_again(reader: Reader, raw: bytes) -> float:
    """A collection of garbage may have come between; a slow input is slow every time."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        with suppress(*reader.refuses):
            reader.take(raw)
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.parametrize("name", READERS)
def test_malformed_input_is_read_or_refused(name: str) -> None:
    end = time.thread_time() + 1.0
    inputs, refused, _ = attack(READERS[name], 1, lambda n: time.thread_time() > end)
    assert inputs > 20
    assert refused > 0 or not READERS[name].refuses


@pytest.mark.torture
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", READERS)
def test_a_million_malformed_inputs(name: str, figure: Callable[..., None]) -> None:
    """A million, or as many as a minute allows: the figure says which."""
    end = time.thread_time() + 60.0
    inputs, refused, slowest = attack(READERS[name], 2, lambda n: n >= 1_000_000 or time.thread_time() > end)
    figure(f"bad input, {name}", inputs=inputs, refused=refused, crashes=0, slowest=f"{max(0.0, slowest) * 1000:.0f} ms")


def test_a_reader_that_breaks_is_found() -> None:
    """The controls: one that crashes on what it does not know, one that hangs."""

    def naive(raw: bytes) -> Any:
        import json

        return json.loads(raw)["v"]

    def hanging(raw: bytes) -> None:
        if b"\xff" in raw:
            end = time.thread_time() + 0.2
            while time.thread_time() < end:
                pass

    with pytest.raises(Exception, match=r".*"):
        attack(Reader(naive, (JSON,)), 1, lambda n: n > 1000)
    with pytest.raises(AssertionError):
        attack(Reader(hanging, (JSON,)), 1, lambda n: n > 1000)
