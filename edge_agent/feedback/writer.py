"""How does the one writer thread keep the ledger going: open, commit, make room, and come back after trouble?"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.config.model import Clearance
from edge_agent.errors import LedgerDamaged, LedgerError
from edge_agent.feedback import retention, span
from edge_agent.feedback.chain import encode
from edge_agent.feedback.folder import Folder
from edge_agent.feedback.queue import Pending, Queue, Seqs
from edge_agent.feedback.schema import NewerLedger, is_damage
from edge_agent.feedback.store import Entry, Store

_log = logging.getLogger(__name__)
_LOOK_S = 30.0  # how often the room on the disk is looked at when nothing is written
_LOOK_COMMITS = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose records these are, and how far each loop's may travel."""

    agent: str
    owner: str
    shares: Mapping[str, Clearance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes that the ledger may take, and that it leaves free on the disk."""

    max_size: float = 2e9
    min_free: float = 200e6


class Writer:
    """Everything here runs on the writer's thread; others only read the plain values."""

    def __init__(self, folder: Folder, queue: Queue, *, identity: Identity, clock: Clock, limits: Limits, retry_s: float) -> None:
        self._folder, self._queue, self._identity, self._clock, self._limits = folder, queue, identity, clock, limits
        self._retry_s = retry_s
        self.opened = threading.Event()
        self.refusal: LedgerError | None = None
        self.healthy, self.room, self.trouble = False, True, "not opened yet"
        self.last_seq = self.epoch = 0
        self._store: Store | None = None
        self._lost = self._refused = 0  # records given up since the last good commit; the queue's count when it came
        self._failures = self._faults = self._dropped = self._commits = self._unlooked = self._size = 0
        self._holds_s: float | None = None
        self._crowded = False
        self._damaged = False  # it was damage that the last write met: the file is not to be tried again

    def work(self) -> None:
        """Write groups until the queue is closed and drained."""
        self._open()
        while self.refusal is None and (group := self._queue.take(self._patience())) is not None:
            try:
                self._turn(group)
            except Exception as e:  # noqa: BLE001 - the one writer must live on: a defect counts as a failed disk, and shows
                self._faults += 1
                _log.exception("ledger %s: the writer failed", self._folder.path)
                self._broken(e)
                self._refuse(group)
        if self._store:
            self._store.close()
        self.healthy, self.trouble = False, self.trouble or "closed"

    def status(self) -> dict[str, Any]:
        return {
            "trouble": self.trouble,
            "room": self.room,
            "epoch": self.epoch,
            "last_seq": self.last_seq,
            "commits": self._commits,
            "failures": self._failures,
            "faults": self._faults,
            "lost": self._lost,
            "dropped_payloads": self._dropped,
            "bytes": self._size,
            "max_bytes": self._limits.max_size,
            "holds_s": self._holds_s,
        }

    def _patience(self) -> float:
        return self._retry_s if not self.healthy else 0.0 if self._crowded else _LOOK_S

    def _turn(self, group: list[Pending]) -> None:
        if not self.healthy:
            self._refuse(group)
            self._open()
        elif group:
            self._write(group)
        if self._store and self._due(idle=not group):
            self._make_room(self._store)

    # ------------------------------------------------------------ opening

    def _open(self) -> None:
        try:
            self._try_to_open()
        except NewerLedger as e:
            self.refusal, self.trouble = e, str(e)
        except (LedgerDamaged, sqlite3.Error, OSError) as e:
            self._broken(e)
        finally:
            self.opened.set()

    def _try_to_open(self) -> None:
        """The living file; a new one, if that is damaged or gone."""
        now = self._clock.wall_ns()
        try:
            self._refuse_the_hopeless()
            store = Store(self._folder.current, self.epoch or self._folder.next_epoch(now), now, resume=self.last_seq)
            self._begin(store, _what_is_gone(store, self._folder))
        except (LedgerDamaged, sqlite3.DatabaseError) as e:
            if not is_damage(e):
                raise
            aside = self._folder.set_aside(now)
            self._damaged = False
            _log.error("ledger %s: damaged (%s); set aside as %s, starting a new one", self._folder.path, e, aside.name)
            store = Store(self._folder.current, max(self._folder.next_epoch(now), self.epoch + 1), now)
            self._begin(store, {"event": "set aside", "folder": aside.name, "why": str(e)})

    def _refuse_the_hopeless(self) -> None:
        if self._damaged:
            raise LedgerDamaged(self.trouble)
        if self._folder.headless():
            raise LedgerDamaged("its file is gone")

    def _begin(self, store: Store, gap: Mapping[str, Any] | None) -> None:
        """The first records of this opening; if they can be written, so can others."""
        try:
            if store.epoch != self.epoch:
                self._folder.write_epoch(store.epoch)
            store.write([*([self._entry("gap", gap)] if gap else []), self._opening_note(store.epoch)])
        except BaseException:
            store.close()
            raise
        self._take_over(store)

    def _take_over(self, store: Store) -> None:
        if self.healthy or self._failures:
            _log.warning("ledger %s: can be written again; %d records were lost", self._folder.path, self._missing())
        self._store, self.last_seq, self.epoch = store, store.seq, store.epoch
        self._lost, self._refused = 0, self._queue.refused
        self.healthy, self.trouble = True, ""

    def _opening_note(self, epoch: int) -> Entry:
        if epoch == self.epoch:
            return self._entry("gap", {"event": "ledger recovered", "why": self.trouble, "lost": self._missing()})
        return self._entry("agent", {"event": "started", "agent": self._identity.agent, "version": __version__, "lost": self._missing()})

    def _missing(self) -> int:
        return self._lost + self._queue.refused - self._refused

    # ------------------------------------------------------------ writing

    def _write(self, group: list[Pending]) -> None:
        assert self._store is not None  # noqa: S101 - being healthy says so
        try:
            seqs = self._store.write([entry for pending in group for entry in pending.entries])
        except (sqlite3.Error, OSError) as e:
            self._broken(e)
            self._refuse(group)
            return
        self.last_seq = self._store.seq
        self._commits += 1
        start = 0
        for pending in group:
            self._settle(pending, seqs[start : start + len(pending.entries)])
            start += len(pending.entries)
            self._unlooked += pending.size + 300 * len(pending.entries)

    def _refuse(self, group: Sequence[Pending]) -> None:
        for pending in group:
            self._lost += len(pending.entries)
            self._settle(pending, LedgerError(f"{self._folder.path}: not written ({self.trouble}); the agent holds until it can be"))

    def _settle(self, pending: Pending, result: Seqs | LedgerError) -> None:
        try:
            pending.settle(result)
        except Exception:  # noqa: BLE001 - a stranger's call-back must not cost the others their acknowledgement
            self._faults += 1
            _log.exception("ledger %s: a call-back after the commit failed", self._folder.path)

    def _broken(self, error: Exception) -> None:
        """After a failed write the page may be gone: never retry on the same handle."""
        if self.healthy or not self._failures:
            _log.error("ledger %s: cannot be written: %s; holding until it can", self._folder.path, error)
        self.healthy, self.trouble, self._failures = False, str(error), self._failures + 1
        self._damaged = is_damage(error)
        if self._store:
            self._store.close()
            self._store = None

    # ------------------------------------------------------------ room

    def _due(self, *, idle: bool) -> bool:
        return idle or self._crowded or self._unlooked > self._limits.max_size / 200 or self._commits % _LOOK_COMMITS == 0

    def _make_room(self, store: Store) -> None:
        """Look at the size, and drop one chunk while there is too much: never more in one turn, intents wait behind it."""
        try:
            self._size, slack, self.room = store.size(), store.slack(), self._folder.free() >= self._limits.min_free
            self._crowded, self._unlooked = self._drop(store) or self._shrink(store, slack), 0
            self._holds_s = span.holds_s(store, self._clock.wall_ns(), self._limits.max_size, self._size)
        except (sqlite3.Error, OSError) as e:
            self._broken(e)
        self.last_seq = store.seq

    def _drop(self, store: Store) -> bool:
        too_much = self._size > self._limits.max_size
        if self.room and not too_much:
            return False
        dropped = retention.step(
            store, self._limits.max_size, lambda what: self._entry("agent", what)._replace(lasting=True), spare=not too_much
        )
        self._dropped += dropped.payloads if dropped else 0
        return dropped is not None

    def _shrink(self, store: Store, slack: int) -> bool:
        """Free pages are used again by what comes; they go back to the disk only where the file itself is too large."""
        if not slack or (self.room and self._size + slack <= self._limits.max_size):
            return False
        store.shrink()
        return store.slack() < slack

    def _entry(self, kind: str, payload: Mapping[str, Any]) -> Entry:
        return Entry(kind, None, self._identity.owner, "site", self._clock.wall_ns(), self._clock.mono_ns(), encode(payload))


def _what_is_gone(store: Store, folder: Folder) -> dict[str, Any] | None:
    """What has to be declared, if the file ends before what was acknowledged."""
    if store.acknowledged <= store.seq:
        return None
    first, last = store.seq + 1, store.acknowledged
    _log.error("ledger %s: records %d to %d were acknowledged and are gone; the disk lost them", folder.path, first, last)
    return {"event": "acknowledged records are gone", "first": first, "last": last}
