"""Does any change of a record show in its hash?"""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.feedback.chain import GENESIS, Header, digest, encode, link

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PAYLOAD = st.dictionaries(st.text(max_size=8), JSON, max_size=5)


def header(**changed: object) -> Header:
    fields = {"blobs": (), "epoch": 1, "kind": "label", "loop": "p1", "mono_ns": 2, "owner": "acme", "payload_sha256": digest(b"{}")}
    return Header(**{**fields, "seq": 3, "share": "site", "wall_ns": 4, **changed})  # type: ignore[arg-type]


@settings(max_examples=40)
@given(PAYLOAD)
def test_a_payload_read_and_written_again_has_the_same_bytes(payload: dict[str, object]) -> None:
    data = encode(payload)
    assert encode(msgspec.json.decode(data)) == data


@settings(max_examples=40)
@given(PAYLOAD)
def test_the_order_of_keys_does_not_matter(payload: dict[str, object]) -> None:
    assert encode(dict(reversed(payload.items()))) == encode(payload)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_no_number_is_written_as_unknown(value: float) -> None:
    assert encode({"x": value}) == b'{"x":null}'


def test_numpy_values_are_written_as_plain_ones() -> None:
    assert encode({"a": np.float32(0.5), "b": np.array([1, 2]), "c": np.bool_(True)}) == b'{"a":0.5,"b":[1,2],"c":true}'


def test_what_json_cannot_hold_is_refused_with_its_type() -> None:
    with pytest.raises(TypeError, match="object cannot stand in a record"):
        encode({"x": object()})


@pytest.mark.parametrize(
    "change",
    [
        {"blobs": ("ab",)},
        {"epoch": 2},
        {"kind": "gap"},
        {"loop": None},
        {"mono_ns": 3},
        {"owner": "other"},
        {"payload_sha256": digest(b"x")},
        {"seq": 4},
        {"share": "company"},
        {"wall_ns": 5},
    ],
)
def test_every_field_is_covered_by_the_hash(change: dict[str, object]) -> None:
    assert link(GENESIS, header(**change)) != link(GENESIS, header())


def test_the_hash_before_is_covered_by_the_hash() -> None:
    assert link(bytes([1] * 32), header()) != link(GENESIS, header())


def test_the_canonical_form_stays_what_others_recompute() -> None:
    assert link(GENESIS, header()).hex() == digest(
        bytes(32)
        + b'{"blobs":[],"epoch":1,"kind":"label","loop":"p1","mono_ns":2,"owner":"acme","payload_sha256":"'
        + digest(b"{}").encode()
        + b'","seq":3,"share":"site","wall_ns":4}'
    )
