"""How far did the ledger say it had come? A mark beside the file, so that an end that went missing shows.

SQLite takes a damaged or vanished write-ahead log for one that ended earlier, and says nothing. The mark is written after each
commit and not flushed: a kill leaves it exact, a power cut an older one at worst. So it never speaks of records that were not on
disk, and a ledger that ends before it has lost what was acknowledged.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

FILE = "tip"
_MARK = struct.Struct("<4sQ")
_MAGIC = b"tip1"
_CHECK = struct.Struct("<I")


def read(path: Path) -> int:
    """The seq that was acknowledged last; 0 where the mark says nothing that can be believed."""
    try:
        with path.open("rb") as file:
            data = file.read(_MARK.size + _CHECK.size)
        magic, seq = _MARK.unpack_from(data)
        (check,) = _CHECK.unpack_from(data, _MARK.size)
    except (OSError, struct.error):
        return 0
    return int(seq) if magic == _MAGIC and check == zlib.crc32(data[: _MARK.size]) else 0


class Tip:
    """The mark, for the one writer. Trouble with it is nobody's trouble: it is a second witness."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def put(self, seq: int) -> None:
        """Everything up to here is on disk."""
        data = _MARK.pack(_MAGIC, seq)
        with suppress(OSError):
            if self._handle is None:
                self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.pwrite(self._handle, data + _CHECK.pack(zlib.crc32(data)), 0)  # within one sector: never half of it

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
