"""A disk that remembers: one file over FUSE, to put a file system on, with every write and every flush in a log, in order.

python recording_disk.py MOUNT_POINT IMAGE SIZE LOG COUNTER      serves MOUNT_POINT/disk until it is unmounted

The log is a row of entries: kind (W or F), offset, length, data. COUNTER is a file whose first eight bytes say how many entries
were logged: whoever reads it after an fsync returned knows a place in the log that lies behind that fsync.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ENTRY = struct.Struct("<cQI")
_IN, _OUT = struct.Struct("<IIQQ16x"), struct.Struct("<IiQ")  # the kernel's fuse_in_header and fuse_out_header
_NAME, _ROOT, _DISK = b"disk", 1, 2
_LONG_S = 3600

# the kernel's opcodes (include/uapi/linux/fuse.h)
_LOOKUP, _FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
_FLUSH, _INIT, _OPENDIR, _RELEASEDIR, _ACCESS, _INTERRUPT, _DESTROY, _BATCH_FORGET = 25, 26, 27, 29, 34, 36, 38, 42
_SILENT = frozenset({_FORGET, _INTERRUPT, _BATCH_FORGET})
_NOTHING = frozenset({_RELEASE, _FLUSH, _RELEASEDIR, _ACCESS, _DESTROY})


class Entry(NamedTuple):
    """One entry of the log; a flush has no data."""

    offset: int
    data: bytes
    flush: bool


def read_log(path: Path) -> Iterator[Entry]:
    """Every entry, oldest first."""
    with path.open("rb") as file:
        while head := file.read(_ENTRY.size):
            kind, offset, length = _ENTRY.unpack(head)
            yield Entry(offset, file.read(length), kind == b"F")


class Disk:
    """Answers the kernel."""

    def __init__(self, image: Path, size: int, log: Path, counter: Path) -> None:
        self._size = size
        self._image = os.open(image, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._image, size)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        handle = os.open(counter, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(handle, 8)
        self._counter = mmap.mmap(handle, 8)
        self._count = 0

    def answer(self, op: int, node: int, body: bytes) -> bytes:
        """The reply to one request. OSError with the number that the kernel shall see."""
        if op in _NOTHING:
            return b""
        if op == _WRITE:
            return self._write(body)
        if op == _READ:
            offset, length = struct.unpack_from("<8xQI", body)
            return os.pread(self._image, length, offset)
        if op == _FSYNC:
            self._note(b"F", 0, b"")
            return b""
        if op in (_GETATTR, _SETATTR):
            return struct.pack("<QII", _LONG_S, 0, 0) + self._attributes(node)
        if op == _LOOKUP and body.rstrip(b"\0") == _NAME:
            return struct.pack("<4QII", _DISK, 0, _LONG_S, _LONG_S, 0, 0) + self._attributes(_DISK)
        if op in (_OPEN, _OPENDIR):
            return struct.pack("<QII", 1, 0, 0)
        if op == _STATFS:
            return struct.pack("<5Q3I28x", 1 << 20, 1 << 20, 1 << 20, 0, 0, 4096, 255, 4096)
        if op == _INIT:
            ahead, flags = struct.unpack_from("<8xII", body)
            return struct.pack("<4IHHIIHHII24x", 7, 31, ahead, flags & (1 | 1 << 5 | 1 << 22), 16, 12, 1 << 20, 1, 256, 0, 0, 0)
        raise OSError(errno.ENOENT if op == _LOOKUP else errno.ENOSYS, "")

    def _write(self, body: bytes) -> bytes:
        offset, length = struct.unpack_from("<8xQI", body)
        data = body[40 : 40 + length]
        os.pwrite(self._image, data, offset)
        self._note(b"W", offset, data)
        return struct.pack("<II", length, 0)

    def _note(self, kind: bytes, offset: int, data: bytes) -> None:
        os.writev(self._log, [_ENTRY.pack(kind, offset, len(data)), data])
        self._count += 1
        self._counter[:] = self._count.to_bytes(8, "little")

    def _attributes(self, node: int) -> bytes:
        size, mode = (self._size, 0o100600) if node == _DISK else (0, 0o40755)
        return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def serve(mount_point: Path, disk: Disk) -> None:
    """Until the file system is unmounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"recording-disk", str(mount_point).encode(), b"fuse", 2 | 4, options):  # no set-uid, no devices
        raise OSError(ctypes.get_errno(), f"{mount_point}: cannot mount FUSE")
    print("READY", flush=True)
    while True:
        try:
            request = os.read(device, (1 << 20) + 4096)
        except OSError as e:
            if e.errno == errno.ENODEV:
                return
            continue
        length, op, unique, node = _IN.unpack_from(request)
        if op in _SILENT:
            continue
        try:
            code, reply = 0, disk.answer(op, node, request[_IN.size : length])
        except OSError as e:
            code, reply = -(e.errno or errno.EIO), b""
        os.writev(device, [_OUT.pack(_OUT.size + len(reply), code, unique), reply])


if __name__ == "__main__":
    point, image, size, log, counter = sys.argv[1:6]
    serve(Path(point), Disk(Path(image), int(size), Path(log), Path(counter)))
