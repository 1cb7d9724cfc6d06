"""A small ext4 of our own, mounted, that can be filled, frozen, robbed of its inodes; and a switch that lets single calls fail."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

SHIM = Path(__file__).with_name("failing_disk.c")
_WHAT = ("write", "fsync", "read", "open")


class SmallDisk:
    """`folder` is where it is mounted."""

    def __init__(self, place: Path, *, megabytes: int = 24, inodes: int = 512) -> None:
        self.folder, self._image = place / "disk", place / "disk.img"
        self.folder.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=4", "-N", str(inodes), str(self._image))
        _run("mount", "-o", "loop", str(self._image), str(self.folder))
        self._ballast = self.folder / "ballast"

    def unmount(self) -> None:
        _run("umount", "-l", str(self.folder))

    def fill(self) -> None:
        """Not a byte is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                _until_full(lambda size=size: file.write(b"\1" * size))

    def take_inodes(self) -> None:
        """Not a file more can be made."""
        self._ballast.mkdir()
        numbers = iter(range(1 << 30))
        _until_full(lambda: (self._ballast / str(next(numbers))).touch())

    def make_room(self) -> None:
        """Take away what fills it."""
        _run("rm", "-r", str(self._ballast))

    def break_down(self) -> None:
        """What the kernel does with a disk that it does not trust any more: read-only at once, for whoever has files open, too."""
        _run("mount", "-o", "remount,abort", str(self.folder))

    def repair(self) -> None:
        """Somebody mends it and mounts it again: another file system at the same place."""
        mended = self._image.with_name("mended.img")
        shutil.copy(self._image, mended)
        subprocess.run(["e2fsck", "-fy", mended], capture_output=True, check=False, timeout=60)
        self.unmount()
        _run("mount", "-o", "loop", str(mended), str(self.folder))


class Switch:
    """Which calls of a process on one disk fail, and with what. The process starts with `environment`."""

    def __init__(self, place: Path, disk: Path) -> None:
        library, self._file = place / "failing_disk.so", place / "switch"
        _run("gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIM), "-ldl")
        self._file.write_bytes(struct.pack("6i", 0, 0, 0, 0, disk.stat().st_dev, 0))
        self.environment = {"LD_PRELOAD": str(library), "FAULT_SWITCH": str(self._file)}

    def fail(self, *what: str, number: int = errno.EIO) -> None:
        """From now on these fail: write, fsync, read, open; nothing, with no names."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("4i", *(number if name in what else 0 for name in _WHAT)))

    @property
    def failed(self) -> int:
        """How many calls have failed."""
        return int(struct.unpack("6i", self._file.read_bytes())[5])


def _until_full(step: object) -> None:
    while True:
        try:
            step()  # type: ignore[operator]
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def free(folder: Path) -> int:
    """Bytes that anybody may still take."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
