"""Which picture files in a folder are whole? By their end marks, never by their size alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"  # PNG (third edition), 11.2.5: an empty chunk and its check sum
_LARGEST = 64 << 20
_AT_ONCE = 8
KINDS = (".jpg", ".jpeg", ".png")


def whole(raw: bytes) -> bool:
    """Whether these bytes are a JPEG from start to end mark (ITU-T T.81, B.1.1.3), or a PNG with its last chunk."""
    if raw[:3] == b"\xff\xd8\xff":
        return raw.rstrip(b"\0")[-2:] == b"\xff\xd9"
    return raw[:8] == _PNG and raw[-12:] == _PNG_END


@dataclass(slots=True)
class Folder:
    """New files, oldest first. What was there before we came is not news; what is renamed into place is taken at once."""

    path: Path
    whole_within_s: float
    broken: int = 0
    skipped: int = 0
    last_broken: str = ""
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> size and time as it was taken, or given up
    _waiting: dict[str, int] = field(default_factory=dict)  # name -> monotonic time when it was first found not whole

    def begin(self) -> None:
        """OSError if the folder cannot be read."""
        self._seen = {name: (size, changed) for changed, name, size in self._listing()}

    def news(self, mono_ns: int) -> list[tuple[str, bytes, int]]:
        """(name, bytes, wall time when it was written) of the files that became whole; the newest few where there are many."""
        listing = self._listing()
        names = {name for _, name, _ in listing}
        self._seen = {n: s for n, s in self._seen.items() if n in names}
        self._waiting = {n: t for n, t in self._waiting.items() if n in names}
        fresh = [(changed, name, size) for changed, name, size in listing if self._seen.get(name) != (size, changed)]
        for changed, name, size in fresh[:-_AT_ONCE]:
            self.skipped += 1
            self._seen[name] = (size, changed)
        return [found for entry in fresh[-_AT_ONCE:] if (found := self._take(*entry, mono_ns)) is not None]

    def _take(self, changed: int, name: str, size: int, mono_ns: int) -> tuple[str, bytes, int] | None:
        try:
            raw = (self.path / name).read_bytes() if size <= _LARGEST else b""
        except OSError:
            return None  # moved away meanwhile
        if whole(raw):
            self._waiting.pop(name, None)
            self._seen[name] = (size, changed)
            return name, raw, changed
        first_ns = self._waiting.setdefault(name, mono_ns)
        if mono_ns - first_ns > self.whole_within_s * 1e9:
            self.broken += 1
            self.last_broken = name
            self._waiting.pop(name)
            self._seen[name] = (size, changed)
        return None

    def _listing(self) -> list[tuple[int, str, int]]:
        with os.scandir(self.path) as entries:
            found = [
                (e.stat().st_mtime_ns, e.name, e.stat().st_size)
                for e in entries
                if e.name.lower().endswith(KINDS) and not e.name.startswith(".") and e.is_file()
            ]
        return sorted(found)
