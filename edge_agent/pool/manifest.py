"""How far has the pool come with one agent, and which files hold it? The manifest is the only truth: what it does not name is
not in the pool."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.blobs import write_durably

_FILE = "manifest.json"


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in an agent's ledger."""

    epoch: int = 0
    seq: int = 0


class Batch(msgspec.Struct, frozen=True):
    """One Parquet file."""

    name: str
    records: int
    first: Place
    last: Place


class Manifest(msgspec.Struct, frozen=True):
    """The state of one agent in the pool."""

    agent: str
    version: int = 1
    cursor: Place = Place()  # everything up to here was seen, what the token may not see included
    tip: Place = Place()  # the last record that was stored, and its hash
    tip_hash: str = ""
    files: tuple[Batch, ...] = ()
    missing_blobs: int = 0  # dropped by the agent's retention before we came

    @property
    def records(self) -> int:
        return sum(batch.records for batch in self.files)


def read(folder: Path, agent: str) -> Manifest:
    """The agent's manifest, or an empty one. EdgeAgentError if it is not readable."""
    file = folder / _FILE
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest(agent=agent)
    except (msgspec.DecodeError, OSError) as e:
        raise EdgeAgentError(f"{file}: cannot be read ({e}); restore it from a backup, or pull into a new folder") from e
    if found.version != 1:
        raise EdgeAgentError(f"{file}: written by a newer edge-agent (version {found.version}); use that one")
    return found


def write(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest: all of it, or nothing."""
    write_durably(folder / _FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def sweep(folder: Path, manifest: Manifest) -> int:
    """Remove what a pull that died left behind: files that the manifest does not name."""
    known = {batch.name for batch in manifest.files}
    stray = [file for pattern in ("*.parquet", "*.part") for file in folder.glob(pattern) if file.name not in known]
    for file in stray:
        file.unlink(missing_ok=True)
    return len(stray)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one pull of an agent at a time. EdgeAgentError if there is another."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        raise EdgeAgentError(f"{folder}: another pull of this agent is under way; wait for it") from e
    finally:
        os.close(handle)
