"""How do records lie in the pool? One Parquet file a batch; the payload as JSON text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from edge_agent.errors import EdgeAgentError
from edge_agent.pool.client import Line

_COLUMNS = ("agent", "site", "epoch", "seq", "kind", "loop", "wall_ns", "mono_ns", "owner", "share")
_NUMBERS = frozenset({"epoch", "seq", "wall_ns", "mono_ns"})
_TAIL = ("payload_sha256", "prev", "hash")


def arrow() -> Any:
    """pyarrow, which only the pool needs. EdgeAgentError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise EdgeAgentError("the pool needs pyarrow; install it with: pip install 'edge-agent[pool]'") from e
    return pyarrow


def schema() -> Any:
    """The columns of a pool file."""
    pa = arrow()
    head = [(name, pa.int64() if name in _NUMBERS else pa.string()) for name in _COLUMNS]
    return pa.schema([*head, ("payload", pa.string()), ("blobs", pa.list_(pa.string())), *((name, pa.string()) for name in _TAIL)])


def pack(lines: Sequence[Line]) -> bytes:
    """A Parquet file with these records."""
    pa = arrow()
    columns: dict[str, list[Any]] = {name: [getattr(line, name) for line in lines] for name in (*_COLUMNS, *_TAIL)}
    columns["payload"] = [None if (data := line.data) is None else data.decode() for line in lines]
    columns["blobs"] = [list(line.blobs) for line in lines]
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table(columns, schema=schema()), buffer, compression="zstd")
    return buffer.getvalue()
