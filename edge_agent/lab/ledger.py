"""Which windows did an agent keep in its ledger, and what do people and outcomes say was true of them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import baseline
from edge_agent.diagnose.card import Card
from edge_agent.errors import EdgeAgentError
from edge_agent.feedback import pack
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import record_of
from edge_agent.lab.data import DataRefused
from edge_agent.lab.windows import FAULT, NORMAL, Windows, fitted
from edge_agent.messages import UNFIT, Record

_PAGE = 500
_MOST = 20_000
_MEANS: Mapping[str, str] = {
    "fault, action helped": FAULT,
    "fault, action did not help": FAULT,
}  # what the loop itself says: feedback/labels.py


def read(path: Path, card: Card, *, loop: str | None = None, roles: Mapping[str, str] | None = None) -> Windows:
    """Fit windows of one loop in the card's order; labels where somebody gave one that the card knows. DataRefused, LedgerError."""
    with Reader(path) as ledger:
        kept, labels, loops, gone = [], dict[int, str](), set[str](), 0
        for record in _records(ledger):
            if record.kind == "label":
                _hear(record, labels, card)
            elif record.kind == "window" and record.payload.get("fit") and record.blobs and loop in (None, record.loop):
                blob = ledger.blobs.path(record.blobs[0])
                if not blob.is_file():
                    gone += 1  # retention dropped the payload; the record stays
                    continue
                kept.append((record, blob))
                loops.add(str(record.loop))
        if len(loops) > 1:
            raise DataRefused(f"{path}: windows of several loops ({', '.join(sorted(loops))}); choose one with --loop")
        if not kept:
            raise DataRefused(
                f"{path}: no fit window with its values{f' of loop {loop}' if loop else ''} ({gone} were dropped by retention)"
            )
        return _windows(kept[-_MOST:], labels, card, roles or {}, str(path))


def _records(ledger: Reader) -> Iterator[Record]:
    at = Cursor()
    while rows := ledger.after(at, _PAGE):
        for row in rows:
            yield record_of(row)
        at = Cursor(rows[-1].epoch, rows[-1].seq)


def _hear(record: Record, labels: dict[int, str], card: Card) -> None:
    """The newest label stands. A label that the card does not know says nothing to this model."""
    value = _MEANS.get(str(record.payload.get("value")), str(record.payload.get("value")))
    if value in (set(card.labels) or {NORMAL, FAULT}):
        labels.update(dict.fromkeys(record.payload.get("about", ()), value))


def _windows(kept: list[tuple[Record, Path]], labels: Mapping[int, str], card: Card, roles: Mapping[str, str], where: str) -> Windows:
    """All windows; only the labelled ones as soon as two different labels stand in the ledger."""
    said = [labels.get(record.seq) for record, _ in kept]
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
        raise DataRefused(
            f"{where}: windows of {values.shape[1]} rows; {card.name} takes {card.window.rows}; use a ledger of a loop with this window"
        )
    if (quality[order] & int(UNFIT)).any():
        raise DataRefused(f"{where}: {blob.name[:12]} is called fit but holds values of bad quality; run `edge-agent ledger verify`")
    return np.ascontiguousarray(values[order], dtype=np.float32)
