"""What a bounded ledger should hold, in plain sets; and random steps that are taken on both. For test_bounded_disk.py."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

from edge_agent.clock import ManualClock
from edge_agent.feedback.chain import digest, encode
from edge_agent.feedback.folder import Folder
from edge_agent.feedback.queue import Pending, Queue
from edge_agent.feedback.store import Entry
from edge_agent.feedback.verify import verify
from edge_agent.feedback.writer import Identity, Limits, Writer

_NAMES = {0: "unlabelled", 1: "labelled", 2: "audit", 3: "lasting"}


class Model:
    """Which payloads are there, of which worth."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[int, str]] = {worth: {} for worth in _NAMES}  # worth -> seq -> digest of the payload, oldest first
        self.blobs: dict[int, tuple[str, ...]] = {}  # seq -> names
        self.dropped: Counter[str] = Counter()
        self.written_bytes = self.most_bytes = self.last = 0

    def add(self, seq: int, entry: Entry, worth: int) -> None:
        self.kept[worth][seq] = digest(entry.payload)
        if entry.blobs:
            self.blobs[seq] = tuple(map(digest, entry.blobs))
        self.written_bytes += len(entry.payload) + sum(map(len, entry.blobs))
        self.last = max(self.last, seq)

    def label(self, seq: int) -> None:
        """Somebody spoke of it: an unlabelled one is worth more from now on."""
        if seq in self.kept[0]:
            self.kept[1][seq] = self.kept[0].pop(seq)
            self.kept[1] = dict(sorted(self.kept[1].items()))

    def drop(self, gone: set[int]) -> None:
        """These are gone. AssertionError unless each was worth the least that there was, and older than what is left of its worth."""
        for worth in (0, 1, 2, 3):
            dropped = gone & self.kept[worth].keys()
            if not dropped:
                continue
            left = self.kept[worth].keys() - dropped
            assert not left or min(left) > max(dropped), f"a {_NAMES[worth]} record {max(dropped)} went before {min(left)}"
            assert worth < 3 or left, "a summary stands for what retention said before; verify sees that it says as much"
            for less in range(worth if worth < 3 else 0):
                left = self.kept[less].keys() - gone
                assert not left, f"a {_NAMES[worth]} record went before the {_NAMES[less]} {min(left)}"
            for seq in dropped:
                del self.kept[worth][seq]
                self.blobs.pop(seq, None)
            self.dropped[_NAMES[worth]] += len(dropped)

    @property
    def payloads(self) -> dict[int, str]:
        return {seq: sha for kept in self.kept.values() for seq, sha in kept.items()}


class Stepper:
    """One writer, turned by hand, and the model beside it."""

    def __init__(self, path: Path, *, limit: int, chance: random.Random) -> None:
        self.model, self._chance, self._limit = Model(), chance, limit
        self._clock, self._path, self._numbers = ManualClock(), path / "ledger", itertools.count()
        self._folder = Folder(self._path)
        self._folder.lock()
        self._known: list[bytes] = []
        self._open()

    def _open(self) -> None:
        limits = Limits(max_size=self._limit, min_free=0)
        self._writer = Writer(self._folder, Queue(), identity=Identity("a1", "acme"), clock=self._clock, limits=limits, retry_s=0.0)
        self._writer._open()
        assert self._writer.healthy, self._writer.trouble
        self._dropped = 0
        self._learn_what_it_wrote()

    @property
    def _db(self) -> Any:
        assert self._writer._store is not None, self._writer.trouble
        return self._writer._store.db

    def step(self) -> None:
        """One random step, then what retention did about it."""
        self._clock.advance(self._chance.uniform(0, 3600))
        what = self._chance.random()
        if what < 0.001:
            self.restart()
        elif what < 0.05:
            self._writer._turn([])
        else:
            self._append([self._entry() for _ in range(self._chance.choice((1, 1, 1, 2, 8)))])
        assert self._writer.healthy, self._writer.trouble
        self._learn_what_it_wrote()
        if self._writer.status()["dropped_payloads"] != self._dropped:
            self._dropped = self._writer.status()["dropped_payloads"]
            there = {seq for (seq,) in self._db.execute("SELECT seq FROM payload")}
            self.model.drop(self.model.payloads.keys() - there)
        self.model.most_bytes = max(self.model.most_bytes, self.bytes())

    def settle(self) -> None:
        """Idle turns until nothing is left to do."""
        for _ in range(200):
            self._writer._turn([])
        self._learn_what_it_wrote()
        self.model.drop(self.model.payloads.keys() - {seq for (seq,) in self._db.execute("SELECT seq FROM payload")})

    def restart(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        if self._writer._store:
            self._writer._store.close()

    def size(self) -> int:
        assert self._writer._store is not None
        return self._writer._store.size()

    def bytes(self) -> int:
        """What really lies on the disk, blobs included."""
        return sum(path.stat().st_size for path in (self._path / "current").glob("*") if path.is_file()) + int(
            self._db.execute("SELECT coalesce(sum(bytes), 0) FROM blob").fetchone()[0]
        )

    def check_everything(self) -> None:
        """Payloads, worths, blobs and chain are those of the model."""
        there = {seq: digest(data) for seq, data in self._db.execute("SELECT seq, data FROM payload")}
        assert there == self.model.payloads
        worths = dict(self._db.execute("SELECT seq, worth FROM record WHERE kept = 1"))
        assert all(worths[seq] == worth for worth, kept in self.model.kept.items() for seq in kept)
        files = {path.name: path.stat().st_size for path in (self._path / "current" / "blobs").glob("??/*")}
        assert files.keys() == {name for names in self.model.blobs.values() for name in names}
        assert files == dict(self._db.execute("SELECT sha256, bytes FROM blob")), "what is counted is what lies there"
        assert verify(self._path).findings == []

    def _append(self, entries: list[Entry]) -> None:
        done: list[Any] = []
        self._writer._turn([Pending(entries, True, done.append)])
        seqs = done[0]
        for seq, entry in zip(seqs, entries, strict=True):
            self.model.add(seq, entry, {"label": 1, "intent": 2, "mode": 2}.get(entry.kind, 0))
        for entry in entries:
            for about in entry.about:
                self.model.label(about)

    def _learn_what_it_wrote(self) -> None:
        """Records of the ledger's own: openings are worth nothing more than others, what retention says lasts."""
        query = "SELECT seq, worth, payload FROM line WHERE seq > ? AND kind IN ('agent', 'gap') ORDER BY seq"
        for seq, worth, payload in self._db.execute(query, (self.model.last,)).fetchall():
            if seq not in self.model.payloads:
                self.model.add(seq, Entry("agent", None, "", "", 0, 0, payload), worth)

    def _entry(self) -> Entry:
        chance, n = self._chance, next(self._numbers)
        kind = chance.choices(("sample", "window", "diagnosis", "label", "intent", "mode"), (40, 20, 25, 8, 5, 2))[0]
        size = chance.choice((0, 50, 200, 200, 1000)) if chance.random() > 0.002 else 60_000
        payload = encode({"n": n, "x": "y" * size})
        about = tuple(chance.randint(1, self.model.last + 2) for _ in range(chance.randint(1, 3))) if kind == "label" else ()
        if kind == "label":
            payload = encode({"n": n, "about": about, "value": "ok"})
        return Entry(kind, "p1", "acme", "site", self._clock.wall_ns(), self._clock.mono_ns(), payload, self._some_blobs(kind), about)

    def _some_blobs(self, kind: str) -> tuple[bytes, ...]:
        """Now and then one that is known already: it lives as long as any record that names it."""
        if kind != "window" or self._chance.random() < 0.5:
            return ()
        if self._known and self._chance.random() < 0.3:
            return (self._chance.choice(self._known),)
        made = self._chance.randbytes(self._chance.choice((100, 3000, 20_000)))
        self._known = [*self._known[-20:], made]
        return (made,)
