"""Which records are on this page, and where does the next one begin?"""

from __future__ import annotations

import gzip
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import Row, blobs_of

MOST = 5000
_BYTES = 8_000_000  # a page ends after the record that reaches this
_STEP = 250


class Line(msgspec.Struct, frozen=True):
    """One record on the wire; the payload's bytes are those that were hashed."""

    agent: str
    site: str
    epoch: int
    seq: int
    kind: str
    loop: str | None
    wall_ns: int
    mono_ns: int
    owner: str
    share: str
    payload: msgspec.Raw | None
    payload_sha256: str
    blobs: tuple[str, ...]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Whole records only. `last` counts those that the caller may not see, too: so the cursor always gets on."""

    data: bytes
    records: int
    last: Cursor
    more: bool


def page(reader: Reader, cursor: Cursor, limit: int, *, shares: Collection[str], agent: str, site: str) -> Page:
    """Up to `limit` records after the cursor, in the ledger's order."""
    lines: list[bytes] = []
    size = looked = 0
    last = cursor
    while looked < limit and size < _BYTES:
        rows = reader.after(last, min(_STEP, limit - looked), shares)
        if not rows:
            break
        for row in rows:
            looked, last = looked + 1, reader.place(row.epoch, row.seq)
            if row.share in shares:
                lines.append(_encode(_line(row, agent, site)))
                size += len(lines[-1])
            if size >= _BYTES:
                break
    return Page(data=b"".join(line + b"\n" for line in lines), records=len(lines), last=last, more=last < reader.last())


def squeeze(data: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The data in the best encoding that the caller accepts, and its name."""
    known = {
        part.partition(";")[0].strip().lower() for part in accepted.split(",") if ";q=0" not in part.replace(" ", "").removesuffix(".0")
    }
    if "zstd" in known:
        import zstandard

        return zstandard.ZstdCompressor(level=3).compress(data), "zstd"
    if "gzip" in known:
        return gzip.compress(data, compresslevel=5, mtime=0), "gzip"
    return data, None


_encode = msgspec.json.Encoder().encode


def _line(row: Row, agent: str, site: str) -> Line:
    payload = msgspec.Raw(row.payload) if row.payload is not None else None
    head = (row.epoch, row.seq, row.kind, row.loop, row.wall_ns, row.mono_ns, row.owner, row.share)
    return Line(agent, site, *head, payload, row.payload_sha256, blobs_of(row), row.prev.hex(), row.hash.hex())
