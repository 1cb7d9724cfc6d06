"""How does a file appear whole or not at all, even when the mains fail in between?"""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, raw: bytes) -> None:
    """Write beside it, to disk, then rename over it, to disk."""
    fresh = path.with_name(f".{path.name}.new")
    write_file(fresh, raw)
    fresh.replace(path)
    sync_folder(path.parent)


def write_file(path: Path, raw: bytes) -> None:
    """Write and wait until it is on disk."""
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
