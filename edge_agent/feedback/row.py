"""What does one row of the ledger mean, and is it what was written?"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

import msgspec

from edge_agent.errors import LedgerDamaged
from edge_agent.feedback.chain import Header, digest, link
from edge_agent.messages import Record, RecordKind


class Row(NamedTuple):
    """A row of the table `record`, columns in the table's order."""

    seq: int
    epoch: int
    kind: str
    loop: str | None
    wall_ns: int
    mono_ns: int
    owner: str
    share: str
    worth: int
    payload_sha256: str
    blobs: str | None  # JSON list of names
    prev: bytes
    hash: bytes
    payload: bytes | None  # None: dropped by retention


_decode = msgspec.json.Decoder(dict[str, Any]).decode
COLUMNS = ", ".join(Row._fields)


def blobs_of(row: Row) -> tuple[str, ...]:
    """The names of the row's blobs, in their order. LedgerDamaged."""
    try:
        return tuple(json.loads(row.blobs)) if row.blobs else ()
    except (TypeError, ValueError) as e:
        raise LedgerDamaged(f"record {row.seq}: the names of its blobs cannot be read ({e})") from e


def header_of(row: Row) -> Header:
    """The hashed part of the row."""
    return Header(blobs_of(row), row.epoch, row.kind, row.loop, row.mono_ns, row.owner, row.payload_sha256, row.seq, row.share, row.wall_ns)


def fault_of(row: Row) -> str | None:
    """Why the row is not what was written, or None. SQLite gives back whatever type lies in the file."""
    if type(row.epoch) is not int:
        return f"its epoch is {row.epoch!r}"
    try:
        if link(row.prev, header_of(row)) != row.hash:
            return "its fields do not give its hash"
    except (TypeError, ValueError, LedgerDamaged) as e:
        return f"a field cannot be read ({e})"
    if row.payload is not None and (not isinstance(row.payload, bytes) or digest(row.payload) != row.payload_sha256):
        return "its payload is not the one that was hashed"
    return None


def payload_of(row: Row) -> dict[str, Any]:
    """The payload as values; empty where retention has dropped it. LedgerDamaged."""
    try:
        return _decode(row.payload) if row.payload else {}
    except (msgspec.MsgspecError, TypeError, ValueError) as e:
        raise LedgerDamaged(f"record {row.seq}: its payload cannot be read ({e})") from e


def record_of(row: Row) -> Record:
    """The row as the message that travels. LedgerDamaged."""
    if not (isinstance(row.prev, bytes) and isinstance(row.hash, bytes)):
        raise LedgerDamaged(f"record {row.seq}: its hash cannot be read")
    return Record(
        epoch=row.epoch,
        seq=row.seq,
        kind=cast("RecordKind", row.kind),
        loop=row.loop,
        wall_ns=row.wall_ns,
        mono_ns=row.mono_ns,
        owner=row.owner,
        share=cast("Any", row.share),
        payload=payload_of(row),
        blobs=blobs_of(row),
        prev=row.prev.hex(),
        hash=row.hash.hex(),
    )
