"""How is a command signed, and how does its receiver tell a good one from an old, repeated or foreign one?

docs/mqtt-commands.md describes the bytes for whoever writes the receiving side in another language.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from typing import Literal

import msgspec

from edge_agent.messages import Scalar
from edge_agent.mqtt.address import Envelope

Algorithm = Literal["hmac-sha256", "ed25519"]
_MARK = b',"sig":"'
_LARGEST = 16_384
_SKEW_MS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A command as it travels."""

    value: Scalar
    id: str
    seq: int
    issued: int  # UTC, ms since 1970
    expires: int
    by: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the receiver makes of a payload: `command` is None where it is refused, and `why` says why."""

    command: Signed | None
    why: str = ""

    @property
    def accepted(self) -> bool:
        return self.command is not None


def seal(value: Scalar, topic: str, envelope: Envelope, *, seq: int, issued_ms: int, expiry_s: float, by: str) -> bytes:
    """The signed payload for one command."""
    body = json.dumps(
        {
            "value": value,
            "id": secrets.token_hex(8),
            "seq": seq,
            "issued": issued_ms,
            "expires": issued_ms + int(expiry_s * 1000),
            "by": by,
        },
        separators=(",", ":"),
        allow_nan=False,
    ).encode()[:-1]
    return body + _MARK + _sign(_covered(topic, body), envelope).encode() + b'"}'


def verify(
    payload: bytes, topic: str, key: bytes, *, now_ms: int, last_seq: int, retained: bool, algorithm: Algorithm = "hmac-sha256"
) -> Verdict:
    """Judge a command. `key`: the shared secret, or the ed25519 public key (32 bytes). `last_seq`: highest accepted so far, -1 at first.

    Keep `last_seq` where a restart does not lose it. Refused, in this order: retained, too long, no or wrong signature,
    not a command, expired, from the future, seen before.
    """
    if retained:
        return Verdict(None, "retained: the broker repeats an old command")
    body, mark, tail = payload.rpartition(_MARK)
    if len(payload) > _LARGEST or not mark or not tail.endswith(b'"}'):
        return Verdict(None, "no signature")
    if not _genuine(_covered(topic, body), tail[:-2], key, algorithm):
        return Verdict(None, "the signature is wrong (other key, other topic, or changed on the way)")
    try:
        command = msgspec.json.decode(body + b"}", type=Signed)
    except (msgspec.DecodeError, ValueError):
        return Verdict(None, "not a command")
    return _timely(command, now_ms, last_seq)


def _timely(command: Signed, now_ms: int, last_seq: int) -> Verdict:
    if isinstance(command.value, float) and not isfinite(command.value):
        return Verdict(None, "not a finite value")
    if now_ms >= command.expires:
        return Verdict(None, f"expired {now_ms - command.expires} ms ago")
    if command.issued > now_ms + _SKEW_MS:
        return Verdict(None, f"issued {command.issued - now_ms} ms in the future: set the clocks")
    if command.seq <= last_seq:
        return Verdict(None, f"seq {command.seq} was seen before (last {last_seq})")
    return Verdict(command)


def _covered(topic: str, body: bytes) -> bytes:
    """What the signature covers: the topic too, so that a command for one valve is none for another."""
    return topic.encode() + b"\n" + body


def _sign(covered: bytes, envelope: Envelope) -> str:
    secret = envelope.sign.get_secret_value()
    if envelope.algorithm == "hmac-sha256":
        return hmac.new(secret.encode(), covered, sha256).hexdigest()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).sign(covered).hex()


def _genuine(covered: bytes, signature: bytes, key: bytes, algorithm: Algorithm) -> bool:
    if algorithm == "hmac-sha256":
        return hmac.compare_digest(hmac.new(key, covered, sha256).hexdigest().encode(), signature)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signature.decode("ascii")), covered)
    except (InvalidSignature, ValueError):
        return False
    return True
