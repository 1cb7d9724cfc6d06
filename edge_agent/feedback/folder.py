"""What lies in the ledger's folder: the lock, the epoch, the living file and those set aside?

ledger/lock                     held by the one writer
ledger/epoch                    the newest epoch, so that it never repeats
ledger/current/                 the file, its blobs, and the mark of how far it had come
ledger/set-aside-<time>/        a damaged one, moved in one rename, never deleted
"""

from __future__ import annotations

import fcntl
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.errors import LedgerError
from edge_agent.feedback import schema
from edge_agent.feedback.blobs import sync_folder, write_durably


class Folder:
    """The folder of one ledger, for its one writer."""

    def __init__(self, path: Path) -> None:
        self.path, self.current = path, path / "current"
        self._lock: int | None = None

    def lock(self) -> None:
        """Be the only writer. LedgerError if somebody else is, or if nothing can be made here."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as e:
            raise LedgerError(f"{self.path}: cannot be used ({e.strerror}); make agent.state a folder that the agent may write") from e
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(handle)
            raise LedgerError(f"{self.path}: another agent writes this ledger; stop it, or give each its own agent.state") from e
        self._lock = handle

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def next_epoch(self, wall_ns: int) -> int:
        """One more than ever before. Where nothing is known of a past (a new disk), the wall clock in seconds: so a box
        that replaces another under the same name does not repeat its keys."""
        try:
            return int((self.path / "epoch").read_text()) + 1
        except (FileNotFoundError, ValueError):
            return max(1, wall_ns // 1_000_000_000)

    def write_epoch(self, epoch: int) -> None:
        write_durably(self.path / "epoch", f"{epoch}\n".encode())

    def headless(self) -> bool:
        """Whether the living file is gone, and left something behind."""
        file = self.current / schema.FILE
        if file.exists() and file.stat().st_size:
            return False
        return any(path.is_file() for path in self.current.rglob("*") if not path.name.startswith(schema.FILE))

    def set_aside(self, wall_ns: int) -> Path:
        """Move the living file with its blobs out of the way; return where it is now."""
        stamp = datetime.fromtimestamp(wall_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path / f"set-aside-{stamp}"
        self.current.rename(aside)
        sync_folder(self.path)
        return aside

    def free(self) -> int:
        """Bytes that are free on the disk."""
        return shutil.disk_usage(self.path).free
