import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.mqtt.address import Envelope
from edge_agent.mqtt.envelope import Verdict, seal, verify

SECRET = "a shared secret of the plant"
NOW = 1_700_000_000_000
TOPIC = "plant/p1/cmd"
HMAC = Envelope.model_validate({"sign": SECRET})


def sealed(value: Any = -200.0, **keys: Any) -> bytes:
    return seal(value, TOPIC, HMAC, **{"seq": 7, "issued_ms": NOW, "expiry_s": 5.0, "by": "ipc1", **keys})


def judged(payload: bytes, **keys: Any) -> Verdict:
    given_ = {"topic": TOPIC, "key": SECRET.encode(), "now_ms": NOW + 100, "last_seq": 6, "retained": False, **keys}
    return verify(payload, **given_)


@pytest.mark.parametrize("value", [-200.0, 3, True, "run", 'a "quoted" ,"sig":" text'])
def test_a_genuine_command_is_accepted(value: Any) -> None:
    command = judged(sealed(value)).command
    assert command is not None
    assert (command.value, command.seq, command.by, command.expires) == (value, 7, "ipc1", NOW + 5000)


def test_the_payload_is_plain_json() -> None:
    assert set(json.loads(sealed())) == {"value", "id", "seq", "issued", "expires", "by", "sig"}


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"retained": True}, "retained"),
        ({"now_ms": NOW + 5000}, "expired"),
        ({"now_ms": NOW - 10_000}, "future"),
        ({"last_seq": 7}, "seen before"),
        ({"last_seq": 8}, "seen before"),
        ({"key": b"another secret"}, "signature is wrong"),
        ({"topic": "plant/p2/cmd"}, "signature is wrong"),
    ],
)
def test_what_is_old_repeated_or_foreign_is_refused(keys: dict[str, Any], why: str) -> None:
    verdict = judged(sealed(), **keys)
    assert not verdict.accepted
    assert why in verdict.why


@pytest.mark.parametrize(
    "payload", [b"", b"5", b"{}", b'{"value":1}', b'{"value":1,"sig":""}', b'{"value":1,"sig":"zz"}', b"x" * 100_000, b'\xff,"sig":"\xff"}']
)
def test_what_is_no_command_is_refused(payload: bytes) -> None:
    assert not judged(payload).accepted
    assert not judged(payload, algorithm="ed25519", key=bytes(32)).accepted


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_bit_is_refused(place: int, flip: int) -> None:
    payload = bytearray(seal(-200.0, TOPIC, HMAC, seq=7, issued_ms=NOW, expiry_s=5.0, by="ipc1"))
    payload[place % len(payload)] ^= flip
    assert not judged(bytes(payload)).accepted


def test_a_signed_text_that_is_no_command_is_refused() -> None:
    from edge_agent.mqtt.envelope import _covered, _sign

    for body in (b'{"value":1', b'{"value":[1],"id":"a","seq":9,"issued":1,"expires":2,"by":"x"', b"null"):
        payload = body + b',"sig":"' + _sign(_covered(TOPIC, body), HMAC).encode() + b'"}'
        assert judged(payload).why == "not a command"


def test_ed25519_needs_no_secret_at_the_receiver() -> None:
    private = Ed25519PrivateKey.generate()
    envelope = Envelope.model_validate({"sign": private.private_bytes_raw().hex(), "algorithm": "ed25519"})
    payload = seal(1.5, TOPIC, envelope, seq=7, issued_ms=NOW, expiry_s=5.0, by="ipc1")
    public = private.public_key().public_bytes_raw()
    assert judged(payload, key=public, algorithm="ed25519").accepted
    assert not judged(payload, key=Ed25519PrivateKey.generate().public_key().public_bytes_raw(), algorithm="ed25519").accepted
    assert not judged(payload, key=b"short", algorithm="ed25519").accepted


def test_a_value_that_is_not_finite_is_never_sealed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        sealed(float("nan"))


def test_the_documentation_shows_the_fields_that_are_sent() -> None:
    page = (Path(__file__).parents[3] / "docs/mqtt-commands.md").read_text()
    shown = json.loads(page.split("```json\n")[1].split("\n")[0])
    assert list(shown) == list(json.loads(sealed()))
