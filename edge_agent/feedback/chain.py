"""How are records chained, so that a changed, missing or added one shows? Pure hashing, no storage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

GENESIS = bytes(32)
"""What stands before the first record of a file."""


class Header(msgspec.Struct, frozen=True):
    """Every field that the hash covers, in the order of their names. The payload is covered by its digest, so that
    retention may drop it and the chain still verifies."""

    blobs: tuple[str, ...]
    epoch: int
    kind: str
    loop: str | None
    mono_ns: int
    owner: str
    payload_sha256: str
    seq: int
    share: str
    wall_ns: int


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a record; use numbers, texts, lists and mappings, arrays as blobs")


_payloads = msgspec.json.Encoder(enc_hook=_plain, order="sorted")
_headers = msgspec.json.Encoder()


def encode(payload: Mapping[str, Any]) -> bytes:
    """Canonical JSON: keys sorted, no spaces, shortest numbers; NaN and infinity become null (unknown). TypeError."""
    return _payloads.encode(payload)


def digest(data: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def link(prev: bytes, header: Header) -> bytes:
    """The record's hash: SHA-256 over the hash before it and the canonical header."""
    return hashlib.sha256(prev + _headers.encode(header)).digest()
