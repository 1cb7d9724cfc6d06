"""How do records get onto the disk before anyone acts on them? One writer thread, group commit, and a way back from trouble.

Healthy means: the last commit succeeded. After an error everything waiting is refused (the caller holds), the file is
closed, opened again and its tail checked, once a second, until a commit succeeds; then the loss is declared as a gap.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from edge_agent import places
from edge_agent.clock import Clock
from edge_agent.config.model import Clearance, File
from edge_agent.errors import LedgerError
from edge_agent.feedback.chain import encode
from edge_agent.feedback.folder import Folder
from edge_agent.feedback.queue import Pending, Queue, Seqs
from edge_agent.feedback.store import Entry
from edge_agent.feedback.writer import Identity, Limits, Writer
from edge_agent.messages import Record

_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """A record for `append_many`."""

    kind: str
    payload: Mapping[str, Any]
    loop: str | None = None


class Ledger:
    """The journal of one agent: `append` for the links, `append_many` for samples, both after-commit."""

    def __init__(self, folder: Path, *, identity: Identity, clock: Clock, limits: Limits | None = None, retry_s: float = 1.0) -> None:
        self._identity, self._clock = identity, clock
        self._queue = Queue()
        self._folder = Folder(folder)
        self._writer = Writer(self._folder, self._queue, identity=identity, clock=clock, limits=limits or Limits(), retry_s=retry_s)
        self._thread = threading.Thread(target=self._writer.work, name="ledger", daemon=True)

    @classmethod
    def of(cls, file: File, clock: Clock) -> Ledger:
        """The ledger that a configuration asks for; not started."""
        identity = Identity(file.agent.name, file.agent.owner, {name: loop.feedback.share for name, loop in file.loops.items()})
        limits = Limits(max_size=file.ledger.max_size, min_free=file.ledger.min_free)
        return cls(places.ledger(file.agent), identity=identity, clock=clock, limits=limits)

    def start(self, timeout_s: float = 60.0) -> None:
        """Take the lock, open the file, begin an epoch. LedgerError if another agent holds it or it is newer than we are;
        trouble with the disk is not raised: the ledger starts unhealthy and recovers by itself."""
        self._folder.lock()
        self._thread.start()
        if not self._writer.opened.wait(timeout_s):
            raise LedgerError(f"{self._folder.path}: the ledger was not opened within {timeout_s:g} s; look at the disk")
        if self._writer.refusal is not None:
            self._folder.unlock()
            raise self._writer.refusal

    def close(self, timeout_s: float = 30.0) -> None:
        """Commit what is queued and let go of the file."""
        self._queue.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._folder.unlock()

    async def append(self, kind: str, payload: Mapping[str, Any], *, loop: str | None = None, blobs: Sequence[bytes] = ()) -> int:
        """Return the record's seq after it is on disk. LedgerError if it cannot be."""
        running = asyncio.get_running_loop()
        future: asyncio.Future[int] = running.create_future()

        def settle(result: Seqs | LedgerError) -> None:
            if not future.done():
                future.set_exception(result) if isinstance(result, LedgerError) else future.set_result(result[0])

        pending = Pending([self._entry(kind, payload, loop, tuple(blobs))], True, lambda result: _on(running, settle, result))
        self._put(pending)
        return await future

    def append_many(self, lines: Sequence[Line], done: Callable[[], None] | None = None) -> bool:
        """Queue records from any thread, never waiting. `done` is called on the writer's thread after their commit, and
        never if they were lost. False: refused, because the queue is full or the disk is in trouble."""

        def settle(result: Seqs | LedgerError) -> None:
            if done is not None and not isinstance(result, LedgerError):
                done()

        try:
            self._put(Pending([self._entry(line.kind, line.payload, line.loop, ()) for line in lines], False, settle))
        except LedgerError:
            return False
        return True

    def share(self, shares: Mapping[str, Clearance]) -> None:
        """From here on the loops' records may travel this far: after a change of the configuration."""
        self._identity = replace(self._identity, shares=shares)

    def find(self, seq: int) -> Record | None:
        """The record of this seq as it lies on disk. Blocking; from any thread."""
        from edge_agent.feedback.reader import Reader

        with Reader(self._folder.path) as reader:
            return reader.record(seq)

    @property
    def healthy(self) -> bool:
        """Whether the last commit succeeded and the writer lives: only then may anything act."""
        return self._writer.healthy and self._thread.is_alive()

    @property
    def room(self) -> bool:
        """Whether the disk still has the configured reserve."""
        return self._writer.room

    @property
    def last_seq(self) -> int:
        return self._writer.last_seq

    @property
    def epoch(self) -> int:
        return self._writer.epoch

    def status(self) -> dict[str, Any]:
        """For `edge-agent status`: health, size, counters and bounds."""
        return {"healthy": self.healthy, "folder": str(self._folder.path), **self._writer.status(), **self._queue.status()}

    def _entry(self, kind: str, payload: Mapping[str, Any], loop: str | None, blobs: tuple[bytes, ...]) -> Entry:
        try:
            data = encode(payload)
        except (TypeError, ValueError, RecursionError) as e:
            raise LedgerError(f"a {kind} record of {loop or 'the agent'} cannot be written: {e}") from e
        about = tuple(seq for seq in payload.get("about", ()) if 0 < seq < 1 << 62) if kind == "label" else ()
        share = self._identity.shares.get(loop or "", "site")
        return Entry(kind, loop, self._identity.owner, share, self._clock.wall_ns(), self._clock.mono_ns(), data, blobs, about)

    def _put(self, pending: Pending) -> None:
        if not self.healthy:
            self._queue.refuse(pending)
            raise LedgerError(f"{self._folder.path}: the ledger cannot be written ({self._writer.trouble}); free or mend the disk")
        self._queue.put(pending)


def _on(running: asyncio.AbstractEventLoop, settle: Callable[[Seqs | LedgerError], None], result: Seqs | LedgerError) -> None:
    try:
        running.call_soon_threadsafe(settle, result)
    except RuntimeError:  # the event loop was closed while the commit was under way: nobody waits any more
        _log.debug("a commit came after its event loop was closed")
