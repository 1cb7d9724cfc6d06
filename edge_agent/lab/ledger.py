"""Which windows did an agent keep, in its ledger or in the pool, and what do people and outcomes say was true of them?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import baseline
from edge_agent.diagnose.card import Card
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback import pack
from edge_agent.feedback.blobs import Blobs
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import record_of
from edge_agent.lab.data import DataRefused
from edge_agent.lab.windows import FAULT, NORMAL, Windows, fitted
from edge_agent.messages import UNFIT

_PAGE = 500
_MOST = 20_000
_MEANS: Mapping[str, str] = {"fault, action helped": FAULT, "fault, action did not help": FAULT}  # what the loop says: feedback/labels.py
_SUSPECT = frozenset({"action", "alarm", "alarm begins", "proposal", "novel"})  # why a window was kept: feedback/keep.py


class Line(NamedTuple):
    """What is needed of a record."""

    seq: int
    kind: str
    loop: str
    payload: Mapping[str, Any]
    blobs: Sequence[str]


def read(path: Path, card: Card, *, loop: str | None = None, roles: Mapping[str, str] | None = None, clean: bool = False) -> Windows:
    """Fit windows of one loop in the card's order; labels where somebody gave one that the card knows. `clean`: without labels, all that
    somebody called normal, or that nobody called anything and no alarm or action had it kept. DataRefused, LedgerError."""
    lines, blobs = _pool(path) if (path / "manifest.json").is_file() else _ledger(path)
    kept: list[tuple[Line, Path]] = []
    labels: dict[int, str] = {}
    gone = 0
    for line in lines:
        if line.kind == "label":
            _hear(line, labels, card)
        elif line.kind == "window" and line.payload.get("fit") and line.blobs and loop in (None, line.loop):
            blob = blobs.path(line.blobs[0])
            if blob.is_file():
                kept.append((line, blob))
            else:
                gone += 1  # retention dropped the values; the record stays
    if clean:
        kept = [(line, blob) for line, blob in kept if _is_clean(line, labels)]
        labels = {}
    loops = sorted({line.loop for line, _ in kept})
    if len(loops) > 1:
        raise DataRefused(f"{path}: windows of several loops ({', '.join(loops)}); choose one with --loop")
    if not kept:
        of = f" of loop {loop}" if loop else ""
        raise DataRefused(f"{path}: no fit window{of} with its values ({gone} were dropped by retention); keep more, or name another loop")
    return _windows(kept[-_MOST:], labels, card, roles or {}, str(path))


def _is_clean(line: Line, labels: Mapping[int, str]) -> bool:
    return labels.get(line.seq) == NORMAL or (line.seq not in labels and not _SUSPECT.intersection(line.payload.get("why", ())))


def _ledger(path: Path) -> tuple[Iterator[Line], Blobs]:
    reader = Reader(path)

    def lines() -> Iterator[Line]:
        with reader as ledger:
            at = Cursor()
            while rows := ledger.after(at, _PAGE):
                for row in rows:
                    record = record_of(row)
                    yield Line(record.seq, record.kind, str(record.loop), record.payload, record.blobs)
                at = Cursor(rows[-1].epoch, rows[-1].seq)

    return lines(), reader.blobs


def _pool(path: Path) -> tuple[Iterator[Line], Blobs]:
    """One agent's folder in the pool."""
    from edge_agent.pool import manifest
    from edge_agent.pool.parquet import arrow

    names = [batch.name for batch in manifest.read(path, path.name).files]

    def lines() -> Iterator[Line]:
        for name in names:
            for group in arrow().parquet.ParquetFile(path / name).iter_batches(batch_size=_PAGE):
                for row in group.to_pylist():
                    if row["payload"] is not None:
                        yield Line(row["seq"], row["kind"], str(row["loop"]), json.loads(row["payload"]), row["blobs"] or ())

    return lines(), Blobs(path / "blobs")


def _hear(line: Line, labels: dict[int, str], card: Card) -> None:
    """The newest label stands. A label that the card does not know says nothing to this model."""
    value = str(line.payload.get("value"))
    value = _MEANS.get(value, value)
    if value in (set(card.labels) or {NORMAL, FAULT}):
        labels.update(dict.fromkeys(line.payload.get("about", ()), value))


def _windows(kept: list[tuple[Line, Path]], labels: Mapping[int, str], card: Card, roles: Mapping[str, str], where: str) -> Windows:
    """All windows; only the labelled ones as soon as two different labels stand there."""
    said = [labels.get(line.seq) for line, _ in kept]
    told = len({label for label in said if label}) > 1
    chosen = [(blob, label) for (_, blob), label in zip(kept, said, strict=True) if label or not told]
    values = np.stack([_values(blob, card, roles, where) for blob, _ in chosen])
    arrays: dict[str, NDArray[Any]] = {"window": values}
    if told:
        arrays["label"] = np.array([label for _, label in chosen])
    if card.baseline:
        rows = values.transpose(0, 2, 1).reshape(-1, values.shape[1])
        arrays["baseline"] = baseline.learn(rows, card.baseline)  # the site's own is not on record; these are the machine's usual rows
    return fitted(arrays, card, where)


def _values(blob: Path, card: Card, roles: Mapping[str, str], where: str) -> NDArray[np.float32]:
    try:
        values, quality, tags = pack.unpack(blob.read_bytes())
    except (OSError, ValueError) as e:
        raise EdgeAgentError(f"{blob}: {e}; run `edge-agent ledger verify {where}`") from e
    wanted = [roles.get(role.role, role.role) for role in card.roles]
    if not set(wanted) <= set(tags) and not roles and len(tags) == len(wanted):
        wanted = list(tags)  # as the loop does: by the order of perceive.tags
    if missing := [tag for tag in wanted if tag not in tags]:
        raise DataRefused(f"{where}: windows hold the tags {', '.join(tags)}, not {', '.join(missing)}; name them with --role ROLE=TAG")
    order = [tags.index(tag) for tag in wanted]
    if values.shape[1] != card.window.rows:
        said = f"windows of {values.shape[1]} rows; {card.name} takes {card.window.rows}"
        raise DataRefused(f"{where}: {said}; take the ledger of a loop with this window")
    if (quality[order] & int(UNFIT)).any():
        raise DataRefused(f"{where}: {blob.name[:12]} is called fit but holds values of bad quality; run `edge-agent ledger verify`")
    return np.ascontiguousarray(values[order], dtype=np.float32)
