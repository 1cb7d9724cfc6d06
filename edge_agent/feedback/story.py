"""Why did the loop, or did it not, act? Gathers what the ledger says around one record: what was seen, said, done, and later true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from edge_agent.errors import LedgerError
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.row import record_of
from edge_agent.messages import Record

_TOLD = ("decision", "intent", "outcome")
_BACK, _AHEAD = 2000, 2000  # records searched around the one asked for
_HOW_MANY = 20
_EMPTY: dict[str, Any] = {"loop": None, "decision": None, "diagnosis": None, "intents": [], "outcomes": [], "labels": [], "mode": None}


def find(reader: Reader, seq: int | None, loop: str | None = None) -> Record:
    """The record that is asked for; without `seq` the newest that has something to tell. LedgerError."""
    if seq is None:
        newest = [record for kind in _TOLD for record in reader.newest(1, kind, loop)]
        if not newest:
            raise LedgerError(
                f"{reader.file}: nothing was decided yet{f' by {loop}' if loop else ''}; the loop may still be filling its window"
            )
        return max(newest, key=lambda record: record.seq)
    record = reader.record(seq)
    if record is None:
        raise LedgerError(f"{reader.file}: there is no record {seq}; `edge-agent ledger tail` shows the newest")
    return record


def tell(reader: Reader, record: Record) -> dict[str, Any]:
    """The decision, its diagnosis, intents with the gate's findings, outcomes and labels around a record."""
    about = record.payload.get("about")
    if record.kind == "label" and about:
        spoken_of = [found for seq in about if (found := reader.record(seq))]
        best = next((r for r in spoken_of if r.kind == "intent"), spoken_of[-1] if spoken_of else None)
        return tell(reader, best) if best else {**_EMPTY, "record": asdict(record)}
    around = list(_around(reader, record))
    decision = _decision(around, record)
    number = decision.payload.get("decision") if decision else record.payload.get("decision")
    acts = [r for r in around if r.kind in ("intent", "outcome") and _belongs(r, decision, number, record)][:_HOW_MANY]
    window = decision.payload.get("window") if decision else record.payload.get("window")
    seen = [r for r in around if r.kind in ("window", "diagnosis") and r.payload.get("window") == window]
    told = {r.seq for r in (record, *acts, *seen, *([decision] if decision else []))}
    labels = [label for label in reader.labels() if told.intersection(label.payload.get("about", ()))]
    diagnosis = (decision.payload.get("diagnosis") if decision else None) or next((r.payload for r in seen if r.kind == "diagnosis"), None)
    return {
        "record": asdict(record),
        "loop": record.loop,
        "decision": _with_place(decision) if decision else None,
        "diagnosis": diagnosis,
        "intents": [_with_place(r) for r in acts if r.kind == "intent"],
        "outcomes": [_with_place(r) for r in acts if r.kind == "outcome"],
        "labels": [_with_place(r) for r in reversed(labels)],
        "mode": next((_with_place(r) for r in reversed(around) if r.kind == "mode" and r.seq <= record.seq), None),
    }


def text(story: dict[str, Any]) -> str:
    """The same for a person."""
    return "\n".join(_lines(story))


# ---------------------------------------------------------------- gathering


def _around(reader: Reader, record: Record) -> Iterator[Record]:
    start = max(0, record.seq - _BACK)
    for row in reader.after(Cursor(0, start), _BACK + _AHEAD):
        if row.loop == record.loop and row.epoch == record.epoch:
            yield record_of(row)


def _decision(around: list[Record], record: Record) -> Record | None:
    """The decision itself, or the newest at or before the record: decisions are written when they change."""
    if record.kind == "decision":
        return record
    decisions = [r for r in around if r.kind == "decision"]
    number = record.payload.get("decision")
    if isinstance(number, int):
        before = [r for r in decisions if r.payload.get("decision", 0) <= number]
        return before[-1] if before else None
    window = record.payload.get("window")
    before = [r for r in decisions if r.payload.get("window", 0) <= window] if isinstance(window, int) else []
    return before[-1] if before else None


def _belongs(act: Record, decision: Record | None, number: Any, record: Record) -> bool:
    if act.seq == record.seq:
        return True
    if record.kind in ("intent", "outcome"):
        key = record.seq if record.kind == "intent" else record.payload.get("intent")
        return key is not None and key in (act.seq, act.payload.get("intent"))
    return decision is not None and act.payload.get("decision") == number


def _with_place(record: Record) -> dict[str, Any]:
    return {"seq": record.seq, "wall_ns": record.wall_ns, **record.payload}


# ---------------------------------------------------------------- telling


def _lines(story: dict[str, Any]) -> Iterator[str]:
    record = story["record"]
    yield f"record {record['seq']} ({record['kind']}) of {story['loop'] or 'the agent'}, {_when(record['wall_ns'])}"
    yield from _saw(story["diagnosis"])
    yield from _decided(story["decision"])
    if story["mode"]:
        yield f"mode       {story['mode'].get('mode', story['mode'].get('to', '?'))}  (record {story['mode']['seq']})"
    for intent in story["intents"]:
        yield f"intended   {intent.get('tag')} = {intent.get('value')}  (record {intent['seq']})"
        yield from _findings(intent)
    for outcome in story["outcomes"]:
        yield f"outcome    {outcome.get('tag')} {outcome.get('status')}: {outcome.get('why') or 'as intended'}  (record {outcome['seq']})"
        yield from _findings(outcome)
    ended = {outcome.get("intent") for outcome in story["outcomes"]}
    for intent in story["intents"]:
        if intent["seq"] not in ended:
            yield "outcome    none is on record: it is under way, or the agent ended before it could look; look at the tag yourself"
    if not story["intents"] and not story["outcomes"]:
        yield f"no write   {_why_not(story)}"
    for label in story["labels"]:
        note = f": {label['note']}" if label.get("note") else ""
        yield f"label      {label.get('value')}  by {label.get('author')}{note}  (record {label['seq']})"


def _saw(diagnosis: dict[str, Any] | None) -> Iterator[str]:
    if not diagnosis:
        yield "diagnosis  none is kept for this record"
        return
    figures = [f"{name} {diagnosis[name]:.3g}" for name in ("score", "confidence", "novelty") if diagnosis.get(name) is not None]
    label = f" {diagnosis['label']}" if diagnosis.get("label") else ""
    why = f" ({diagnosis['why']})" if diagnosis.get("why") else ""
    yield f"diagnosis  {diagnosis.get('status')}{label}{why}  {', '.join(figures)}  by {diagnosis.get('model') or 'no model'}"
    if diagnosis.get("lower") is not None:
        yield f"           between {diagnosis['lower']:.3g} and {diagnosis['upper']:.3g}"
    if diagnosis.get("drifting"):
        yield f"           drifting: {'; '.join(diagnosis['drifting'])}"
    blame = [f"{tag} {share:.0%}" for tag, share in diagnosis.get("contributions", ())[:5] if share is not None]
    if blame:
        yield f"           because of {', '.join(blame)}"


def _decided(decision: dict[str, Any] | None) -> Iterator[str]:
    if not decision:
        yield "decision   none is kept for this record"
        return
    change = (
        decision.get("state")
        if decision.get("state") == decision.get("previous")
        else f"{decision.get('previous')} -> {decision.get('state')}"
    )
    unknown = "  (a condition could not be decided)" if decision.get("unknown") else ""
    yield f"decision   {change}: {decision.get('reason')}{unknown}  (record {decision['seq']})"
    for proposal in decision.get("proposals", ()):
        yield f"           proposes {proposal['kind']} {proposal['tag']} {proposal['value']}: {proposal['reason']}"


def _findings(act: dict[str, Any]) -> Iterator[str]:
    """What each guard said; a finding is [guard, ok, why] or the same with names."""
    for finding in act.get("findings", ()):
        guard, ok, why = (finding["guard"], finding["ok"], finding["why"]) if isinstance(finding, dict) else finding
        yield f"           {'ok ' if ok else 'NO '} {guard}{'' if ok else f': {why}'}"


def _why_not(story: dict[str, Any]) -> str:
    decision = story["decision"]
    if not decision:
        return "nothing was decided"
    if not decision.get("proposals"):
        return "the policy proposed nothing"
    return "nothing was tried: the loop was not armed, or waits"


def _when(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9).astimezone().isoformat(" ", "milliseconds")
