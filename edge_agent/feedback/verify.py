"""Is the ledger what was written: every hash, every seq, every blob? Reads a living ledger without holding it up.

What retention dropped must be vouched for by a later record of the chain: an empty payload or a hole without one is a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.errors import LedgerError
from edge_agent.feedback import tip, told
from edge_agent.feedback.chain import GENESIS, digest
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import Row, blobs_of, fault_of

_CHUNK = 2000
_MOST_FINDINGS = 100

Progress = Callable[[int, int], None]
"""Called with records done and records there are, roughly."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What a verification saw. `findings` is empty when all is well."""

    file: str
    records: int = 0
    first: int | None = None
    last: int | None = None
    epochs: list[int] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    dropped_payloads: int = 0
    removed_records: int = 0
    blobs: int = 0
    findings: list[str] = field(default_factory=list)
    more_findings: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def find(self, what: str) -> None:
        """Note a finding; beyond a hundred they are only counted."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(what)
        else:
            self.more_findings += 1


def verify(path: Path, progress: Progress | None = None, *, blobs: bool = True) -> Report:
    """Walk the whole chain. `path`: a ledger's folder or file. LedgerError if there is none or it cannot be read at all."""
    with Reader(path) as reader:
        acknowledged = tip.read(reader.file.with_name(tip.FILE))  # before the walk: the writer may be ahead of it, never behind
        return _Walk(reader, blobs).run(progress, acknowledged)


class _Walk:
    """One walk over one ledger."""

    def __init__(self, reader: Reader, blobs: bool) -> None:
        self._reader, self._blobs = reader, blobs
        self._report = Report(file=str(reader.file))
        self._hash, self._seq, self._epoch = GENESIS, 0, 0
        self._empty: list[list[int]] = []  # runs of records without payload
        self._holes: list[told.Span] = []
        self._vouched = told.Spans([], [])

    def run(self, progress: Progress | None, acknowledged: int) -> Report:
        total = self._reader.count()
        for row in self._rows():
            self._check(row)
            if progress and self._report.records % _CHUNK == 0:
                progress(self._report.records, total)
        self._check_the_end(acknowledged)
        self._check_what_was_dropped()
        self._report.last = self._seq or None
        return self._report

    def _rows(self) -> Iterator[Row]:
        seq = 0
        while rows := self._read(seq):
            yield from rows
            seq = rows[-1].seq

    def _read(self, seq: int) -> list[Row]:
        try:
            return self._reader.after(Cursor(0, seq), _CHUNK)
        except LedgerError as e:
            self._report.find(f"after record {seq} nothing more can be read: {e}")
            return []

    def _check(self, row: Row) -> None:
        report = self._report
        if row.seq != self._seq + 1:
            self._enter_hole(row)
        elif row.prev != self._hash:
            report.find(f"record {row.seq}: does not follow the record before it")
        if fault := fault_of(row):
            report.find(f"record {row.seq}: {fault}")
        else:
            self._take_evidence(row)
            self._follow(row.seq, row.epoch)
        self._count(row)
        self._seq, self._hash = row.seq, row.hash

    def _follow(self, seq: int, epoch: int) -> None:
        if epoch < self._epoch:
            self._report.find(f"record {seq}: epoch {epoch} comes after epoch {self._epoch}")
        self._epoch = epoch

    def _count(self, row: Row) -> None:
        report = self._report
        report.records += 1
        report.first = report.first or row.seq
        report.kinds[row.kind] = report.kinds.get(row.kind, 0) + 1
        if not report.epochs or report.epochs[-1] != row.epoch:
            report.epochs.append(row.epoch)

    def _take_evidence(self, row: Row) -> None:
        if row.payload is None:
            self._note_empty(row.seq)
        elif row.kind == "agent":
            self._note_retention(row)
        if row.payload is not None and row.blobs and self._blobs:
            self._check_blobs(row)

    def _enter_hole(self, row: Row) -> None:
        hole = self._reader.hole_before(row.seq)
        if hole is None or hole[3] != row.prev or not self._meets(hole[0], hole[2]):
            self._report.find(f"records {self._seq + 1} to {row.seq - 1} are missing")
            return
        self._holes.append((hole[0], hole[1]))
        self._report.removed_records += hole[1] - hole[0] + 1

    def _meets(self, first: int, before: bytes) -> bool:
        """Whether a hole begins where we are; or earlier, made by retention behind our back while we walked."""
        return before == self._hash if first == self._seq + 1 else 0 < first <= self._seq

    def _note_empty(self, seq: int) -> None:
        self._report.dropped_payloads += 1
        if self._empty and self._empty[-1][1] == seq - 1:
            self._empty[-1][1] = seq
        else:
            self._empty.append([seq, seq])

    def _note_retention(self, row: Row) -> None:
        said = told.spans(row.payload or b"")
        if said is not None:
            self._vouched.payloads.extend(said.payloads)
            self._vouched.records.extend(said.records)

    def _check_blobs(self, row: Row) -> None:
        for name in blobs_of(row):
            self._report.blobs += 1
            try:
                right = digest(self._reader.blobs.path(name).read_bytes()) == name
            except OSError:
                right = False
            if not right and (now := self._reader.row(row.seq)) is not None and now.payload is not None:
                self._report.find(f"record {row.seq}: blob {name} is missing or changed")

    def _check_the_end(self, acknowledged: int) -> None:
        """Records cut off at the end show only if a hole, the mark beside the file or another record still speaks of them."""
        end = max([self._seq, *(last for _, last, _, _ in self._reader.holes())])
        if acknowledged > end:
            self._report.find(f"records {end + 1} to {acknowledged} were acknowledged and are missing")
        for fault in self._reader.faults():
            self._report.find(f"the file itself: {fault}")
        if not self._report.records and self._reader.holes():
            self._report.find("every record is missing")

    def _check_what_was_dropped(self) -> None:
        payloads, records = told.joined(self._vouched.payloads), told.joined(self._vouched.records)
        for first, last in self._empty:
            if not told.within(first, last, payloads):
                self._report.find(f"records {first} to {last}: the payload is missing, and no retention record says why")
        for first, last in self._holes:
            if not told.within(first, last, records):
                self._report.find(f"records {first} to {last} were removed, and no retention record says why")
