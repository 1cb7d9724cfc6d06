"""What does a record of the ledger's own say that was dropped? Spans of seqs, first and last included."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

Span = tuple[int, int]


class Spans(NamedTuple):
    """Within `payloads` payloads may be missing, within `records` whole records."""

    payloads: list[Span]
    records: list[Span]


class _Said(msgspec.Struct):
    event: str
    dropped: str = ""
    first: int = 0
    last: int = 0
    runs: list[Span] = []
    payloads: list[Span] = []
    records: list[Span] = []


def spans(payload: bytes) -> Spans | None:
    """What a payload says; None if it speaks of something else or cannot be read."""
    try:
        said = msgspec.json.decode(payload, type=_Said)
    except (msgspec.MsgspecError, TypeError):
        return None
    if said.event != "retention":
        return None
    if said.dropped == "payload":
        return Spans([(said.first, said.last)], [])
    if said.dropped == "record":  # one run, as the first versions wrote it, or several
        return Spans([], said.runs or [(said.first, said.last)])
    return Spans(said.payloads, said.records)


def joined(found: Iterable[Span]) -> list[Span]:
    """Overlapping and touching spans as one, in order."""
    together: list[Span] = []
    for first, last in sorted(found):
        if together and first <= together[-1][1] + 1:
            together[-1] = (together[-1][0], max(last, together[-1][1]))
        else:
            together.append((first, last))
    return together


def within(first: int, last: int, among: Sequence[Span]) -> bool:
    """Whether one of these, joined and in order, holds all of it."""
    at = bisect_right(among, (first, 1 << 63)) - 1
    return at >= 0 and among[at][0] <= first and last <= among[at][1]
