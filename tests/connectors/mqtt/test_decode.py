import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.messages import Quality
from edge_agent.mqtt.address import Decode
from edge_agent.mqtt.decode import Decoder, Fact, document

GOOD, TYPE, NOT_FINITE, BAD, UNCERTAIN = (int(q) for q in (Quality.GOOD, Quality.TYPE, Quality.NOT_FINITE, Quality.BAD, Quality.UNCERTAIN))


def facts(payload: bytes, **decode: Any) -> list[Fact]:
    decoder = Decoder(Decode.model_validate(decode))
    return decoder.read(document(payload) if decoder.wants_json else payload)


def one(payload: bytes, **decode: Any) -> tuple[Any, int]:
    (value, quality, _), *rest = facts(payload, **decode)
    assert not rest
    return value, quality


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"1.5", (1.5, GOOD)),
        (b" -3e2\n", (-300.0, GOOD)),
        (b"nan", (None, NOT_FINITE)),
        (b"-inf", (None, NOT_FINITE)),
        (b"1e999", (None, NOT_FINITE)),
        (b"1,5", (None, TYPE)),
        (b"1_000", (None, TYPE)),
        (b"", (None, TYPE)),
        (b"\x00\xff\xfe", (None, TYPE)),
        (b"1" * 1000, (None, TYPE)),
    ],
)
def test_plain_numbers(payload: bytes, expected: tuple[Any, int]) -> None:
    assert one(payload) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a":{"b":[7]}}', (7, GOOD)),
        (b'{"a":{"b":[7.5, 8]}}', (7.5, GOOD)),
        (b'{"a":{"b":[true]}}', (True, GOOD)),
        (b'{"a":{"b":["run"]}}', ("run", GOOD)),
        (b'{"a":{"b":[]}}', (None, TYPE)),
        (b'{"a":{"b":{"0":7}}}', (None, TYPE)),
        (b'{"a":{"b":[null]}}', (None, TYPE)),
        (b'{"a":{"b":[{}]}}', (None, TYPE)),
        (b'{"a":{"b":[NaN]}}', (None, NOT_FINITE)),
        (b'{"a":{"b":[-Infinity]}}', (None, NOT_FINITE)),
        (b'{"a":{"b":[1e400]}}', (None, TYPE)),
        (b'{"a":{"b":[' + b"9" * 40 + b"]}}", (None, NOT_FINITE)),
        (b'{"a":{"b":[' + b"9" * 6000 + b"]}}", (None, TYPE)),
        (b'{"a":1}', (None, TYPE)),
        (b"[1,2]", (None, TYPE)),
        (b"{", (None, TYPE)),
        (b"\xff\xd8\xff\xe0binary", (None, TYPE)),
        (b"", (None, TYPE)),
        (b"[" * 100_000, (None, TYPE)),
        (b'{"a":' * 50_000 + b"NaN" + b"}" * 50_000, (None, TYPE)),
    ],
)
def test_json_by_path(payload: bytes, expected: tuple[Any, int]) -> None:
    assert one(payload, type="json", path="a.b[0]") == expected


def test_one_nan_does_not_spoil_its_neighbours() -> None:
    assert one(b'{"a": NaN, "b": 2}', type="json", path="b") == (2, GOOD)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b"true", (True, GOOD)), (b"OFF", (False, GOOD)), (b"1", (True, GOOD)), (b"2", (None, TYPE)), (b"yes", (None, TYPE))],
)
def test_truth_values(payload: bytes, expected: tuple[Any, int]) -> None:
    assert one(payload, type="bool") == expected


def test_text_is_strict_utf8_and_bounded() -> None:
    assert one("müde".encode(), type="text") == ("müde", GOOD)
    assert one(b"\xff", type="text") == (None, TYPE)
    assert one(b"x" * 5000, type="text") == (None, TYPE)


def test_scale_and_offset() -> None:
    assert one(b"10", scale=0.1, offset=-1.0) == (pytest.approx(0.0), GOOD)
    assert one(b"1e308", scale=1e10) == (None, NOT_FINITE)


@pytest.mark.parametrize(
    ("time_format", "time"),
    [
        ("ms", 1_700_000_000_123),
        ("s", 1_700_000_000.123),
        ("us", "1700000000123000"),
        ("iso", "2023-11-14T22:13:20.123Z"),
        ("iso", "2023-11-14 23:13:20.123+01:00"),
    ],
)
def test_the_devices_time_in_every_format(time_format: str, time: Any) -> None:
    ((_, quality, source_ns),) = facts(json.dumps({"v": 1, "t": time}).encode(), type="json", path="v", time="t", time_format=time_format)
    assert quality == GOOD
    assert source_ns is not None
    assert abs(source_ns - 1_700_000_000_123_000_000) < 1000


@pytest.mark.parametrize("time", [None, "soon", True, -1, 0, 1e300, 10**30, [], "9" * 100])
def test_a_time_that_is_none_makes_the_value_uncertain(time: Any) -> None:
    assert facts(json.dumps({"v": 1, "t": time}).encode(), type="json", path="v", time="t") == [(1, UNCERTAIN, None)]


@pytest.mark.parametrize(
    ("word", "quality"),
    [
        ("Good", GOOD),
        (True, GOOD),
        ("uncertain", UNCERTAIN),
        ("bad", BAD),
        ("sunny", BAD),
        (None, BAD),
        ([], BAD),
        pytest.param(10**5000, BAD, id="huge"),
    ],
)
def test_the_devices_quality(word: Any, quality: int) -> None:
    decoder = Decoder(Decode.model_validate({"type": "json", "path": "v", "quality": {"path": "q"}}))
    assert decoder.read({"v": 1, "q": word}) == [(1, quality, None)]


def test_a_quality_map_knows_opc_numbers() -> None:
    words = {"path": "q", "map": {"192": "good", "64": "uncertain"}}
    assert one(b'{"v":1,"q":192}', type="json", path="v", quality=words) == (1, GOOD)
    assert one(b'{"v":1,"q":0}', type="json", path="v", quality=words) == (1, BAD)


def test_a_batch_gives_a_sample_an_item() -> None:
    payload = b'{"s":[{"t":1000,"v":1},{"t":2000,"v":2},{"v":"x"},5]}'
    got = facts(payload, type="json", batch="s", path="v", time="t")
    assert got[:2] == [(1, GOOD, 10**9), (2, GOOD, 2 * 10**9)]
    assert got[2] == ("x", UNCERTAIN, None)
    assert got[3][1] & TYPE
    assert facts(b'{"s":5}', type="json", batch="s", path="v") == [(None, TYPE, None)]


def test_a_batch_with_one_time_is_spread_by_its_rate() -> None:
    got = facts(b'[{"v":1},{"v":2},{"v":3,"t":1000}]', type="json", batch="", path="v", time="t", rate="10 Hz")
    assert [source for _, _, source in got] == [800_000_000, 900_000_000, 1_000_000_000]
    assert [quality for _, quality, _ in got] == [GOOD] * 3


def test_a_waveform_block_is_float32() -> None:
    value, quality = one(struct.pack("<4f", 1, -2, 3, -4), type="f32le", rate="25.6 kHz")
    assert (value.dtype, value.tolist(), quality) == (np.float32, [1, -2, 3, -4], GOOD)
    value, _ = one(struct.pack("<3h", 100, -200, 300), type="i16le", scale=0.01)
    assert value.tolist() == pytest.approx([1, -2, 3])


@pytest.mark.parametrize("payload", [b"", b"123", b"12345"])
def test_a_block_of_the_wrong_length_is_no_value(payload: bytes) -> None:
    assert one(payload, type="f32le") == (None, TYPE)


def test_a_block_must_have_its_declared_length() -> None:
    assert one(struct.pack("<4f", 1, 2, 3, 4), type="f32le", length=5) == (None, TYPE)
    assert one(b"[1,2,3]", type="json", length=3)[0].tolist() == [1, 2, 3]
    assert one(b"[1,2]", type="json", length=3) == (None, TYPE)
    assert one(b'[1,"2",3]', type="json", length=3) == (None, TYPE)


def test_a_block_with_nan_is_not_finite() -> None:
    assert one(struct.pack("<2f", 1, math.nan), type="f32le") == (None, NOT_FINITE)
    assert one(struct.pack("<2f", 1, 3e38), type="f32le", scale=1e6) == (None, NOT_FINITE)


@pytest.mark.parametrize(
    ("reduce", "expected"), [("rms", math.sqrt(0.5)), ("peak", 1.0), ("mean", 0.0), ("kurtosis", 1.5), ("crest", math.sqrt(2))]
)
def test_features_of_a_sine(reduce: str, expected: float) -> None:
    wave = np.sin(2 * np.pi * np.arange(4096) / 64).astype("<f4").tobytes()
    value, quality = one(wave, type="f32le", reduce=reduce)
    assert (value, quality) == (pytest.approx(expected, abs=1e-6), GOOD)


@pytest.mark.parametrize("reduce", ["kurtosis", "crest"])
def test_features_of_silence_are_zero(reduce: str) -> None:
    assert one(bytes(64), type="f32le", reduce=reduce) == (0.0, GOOD)


KINDS: list[dict[str, Any]] = [
    {"type": "number"},
    {"type": "bool"},
    {"type": "text"},
    {"type": "f32le", "reduce": "kurtosis"},
    {"type": "i16le", "length": 8},
    {"type": "json", "path": "a.b[0]", "time": "t", "time_format": "iso", "quality": {"path": "q"}},
    {"type": "json", "batch": "s", "path": "v", "time": "t", "rate": "10 Hz", "scale": 1e300},
    {"type": "json", "reduce": "crest"},
]
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "s", "t", "q", "v"]), inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | JSONISH.map(lambda doc: json.dumps(doc).encode()), st.sampled_from(KINDS))
@example(b"\x00\x00\x81\x7f", {"type": "f32le", "reduce": "kurtosis"})  # a signalling NaN
def test_no_payload_raises_and_every_value_is_finite_or_marked(payload: bytes, kind: dict[str, Any]) -> None:
    for value, quality, source_ns in facts(payload, **kind):
        assert value is not None or quality & (TYPE | NOT_FINITE)
        assert not isinstance(value, float) or math.isfinite(value)
        assert not isinstance(value, np.ndarray) or np.isfinite(value).all()
        assert source_ns is None or 0 < source_ns < 1 << 62
