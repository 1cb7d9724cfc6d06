"""Where do waveforms and pictures lie? Files named by the SHA-256 of what is in them, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_agent.feedback.chain import digest

_CUT = ".part"


def sync_folder(folder: Path) -> None:
    """Make names in the folder (new, renamed, removed) survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """The file holds the old content or all of the new, whatever happens; on return it is on disk."""
    part = path.with_name(path.name + _CUT)
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


class Blobs:
    """The folder of blobs. One writer; readers only open files by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the blob of this name lies, or would lie."""
        return self.folder / sha256[:2] / sha256

    def put(self, data: bytes) -> str:
        """Store durably and return the name; storing the same bytes twice costs one look."""
        name = digest(data)
        path = self.path(name)
        if not (path.exists() and path.stat().st_size == len(data)):
            if not path.parent.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(self.folder)
            write_durably(path, data)
        return name

    def drop(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is fine."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def put_by(self, name: str) -> None:
        """Out of the way, but never gone: what named it was lost."""
        lost = self.folder / "lost"
        lost.mkdir(exist_ok=True)
        self.path(name).rename(lost / name)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Name and bytes of every file in the folder, half-written ones included."""
        for shelf in self.folder.glob("??"):
            with os.scandir(shelf) as files:
                yield from ((file.name, file.stat(follow_symlinks=False).st_size) for file in files)
