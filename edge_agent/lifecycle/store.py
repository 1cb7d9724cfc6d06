"""Which bundles are installed, and which version of each is in use?

    MODELS/NAME/VERSION-HASH/   a bundle; never changed once it lies there
    MODELS/NAME/state.json      {"current": "VERSION-HASH", "previous": ["VERSION-HASH", ...]}, newest last

No links: the state names the folder, and is replaced in one rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import Field, ValidationError

from edge_agent.config.types import Model
from edge_agent.diagnose import bundle, manifest, signature
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.worker import WorkerRuntime
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.lifecycle.durable import replace_file, sync_folder
from edge_agent.lifecycle.pack import unpack

STATE = "state.json"
_KEPT = 3  # earlier versions to roll back to


class State(Model):
    """A whole state.json."""

    current: str
    previous: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One model in the store."""

    name: str
    path: Path  # of the version in use
    state: State


def install(source: Path, models: Path, *, keys: signature.Keys, dev: bool = False) -> Bundle:
    """Unpack or copy, verify, admit, re-run the golden vectors in a worker on this processor, then put it into use. ModelRefused."""
    models.mkdir(parents=True, exist_ok=True)
    with _alone(models), tempfile.TemporaryDirectory(prefix=".incoming-", dir=models) as scratch:
        incoming = Path(scratch) / "bundle"
        incoming.mkdir(mode=0o755)
        _bring(source, incoming)
        found = asyncio.run(try_out(incoming, keys=keys, dev=dev))
        home = models / found.card.name
        home.mkdir(exist_ok=True)
        version = f"{found.card.version}-{found.hash[:12]}"
        if not (home / version).exists():
            sync_folder(incoming)
            incoming.rename(home / version)
            sync_folder(home)
        _use(home, version)
    return found


async def try_out(path: Path, *, keys: signature.Keys, dev: bool) -> Bundle:
    """Load a bundle in a worker of its own, golden vectors and all. ModelRefused."""
    runtime = WorkerRuntime(partial(bundle.read, keys=keys, dev=dev))
    try:
        await runtime.load(path)
        return runtime.opened(path)
    finally:
        await runtime.close()


def rollback(name: str, models: Path) -> tuple[str, str]:
    """Put the version before the current one into use; (from, to). EdgeAgentError if there is none."""
    home = models / name
    with _alone(models):
        state = read_state(home)
        if not state.previous:
            raise EdgeAgentError(f"{home}: no earlier version is kept; install one")
        target = state.previous[-1]
        _write(home, State(current=target, previous=state.previous[:-1]))
    return state.current, target


def listing(models: Path) -> Sequence[Installed]:
    """Every model that is installed."""
    homes = sorted(p.parent for p in models.glob(f"*/{STATE}"))
    return [Installed(name=h.name, path=h / (s := read_state(h)).current, state=s) for h in homes]


def resolve(model: str, *, beside: Path, models: Sequence[Path]) -> Path:
    """The bundle's folder that a configuration means: absolute, relative to `beside`, or by name in one of `models`. ModelRefused."""
    tried = [Path(model)] if Path(model).is_absolute() else [beside / model, *(folder / model for folder in models)]
    for path in tried:
        if (path / manifest.MANIFEST).is_file():
            return path
        if (path / STATE).is_file():
            return path / read_state(path).current
    raise ModelRefused(f"model {model!r}: no bundle at {', '.join(map(str, tried))}; install it with `edge-agent models install`")


def read_state(home: Path) -> State:
    """What is in use of this model. EdgeAgentError if it cannot be said."""
    try:
        state = State.model_validate_json((home / STATE).read_bytes())
    except (OSError, ValidationError) as e:
        raise EdgeAgentError(f"{home}: nothing is installed here, or its {STATE} is damaged ({e}); install the model again") from e
    if any(Path(version).name != version or version in ("", ".", "..") for version in (state.current, *state.previous)):
        raise EdgeAgentError(f"{home / STATE}: names a folder elsewhere; install the model again")
    return state


def _bring(source: Path, incoming: Path) -> None:
    if source.is_file():
        unpack(source, incoming)
        return
    for file in source.iterdir() if source.is_dir() else ():
        if file.name in bundle.MAX_BYTES and file.is_file() and file.stat().st_size <= bundle.MAX_BYTES[file.name]:
            shutil.copyfile(file, incoming / file.name)
            with (incoming / file.name).open("rb") as copy:
                os.fsync(copy.fileno())


def _use(home: Path, version: str) -> None:
    earlier: list[str] = []
    if (home / STATE).exists():
        state = read_state(home)
        earlier = [v for v in (*state.previous, state.current) if v != version]
    for gone in earlier[:-_KEPT]:
        shutil.rmtree(home / gone, ignore_errors=True)
    _write(home, State(current=version, previous=earlier[-_KEPT:]))


def _write(home: Path, state: State) -> None:
    replace_file(home / STATE, json.dumps(state.model_dump()).encode() + b"\n")


@contextlib.contextmanager
def _alone(models: Path) -> Iterator[None]:
    """One change of the store at a time."""
    fd = os.open(models, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        raise EdgeAgentError(f"{models}: another process is changing the models; try again when it is done") from e
    finally:
        os.close(fd)
