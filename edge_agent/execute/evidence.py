"""What does the gate get to see? Gathers the facts for one request; every value becomes plain Python first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.execute.actuator import value_of
from edge_agent.execute.gate.facts import (
    Approval,
    ContractFacts,
    Facts,
    InputFacts,
    ModeFacts,
    ModelFacts,
    OperatorFacts,
    OutputFacts,
    PersistenceFacts,
    RivalFacts,
    Scalar,
    SelfFacts,
    Value,
    WishFacts,
)
from edge_agent.execute.station import Held, Station
from edge_agent.messages import Decision, Diagnosis, Proposal, Window

FOREIGN_NS = 3_600_000_000_000
FOREIGN_MOST = 3  # foreign changes within an hour that are no longer an operator's hand but another writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One turn of the loop, as the executor got it."""

    window: Window
    diagnosis: Diagnosis
    decision: Decision
    wishes: Mapping[str, tuple[str, Value]]  # tag -> kind, absolute target
    previous_end_ns: int
    good_windows: int


def absolute(proposal: Proposal, neutral: float, listed: bool) -> Value:
    """Where a proposal leads: trims count from neutral; numbers become floats unless the configuration lists values."""
    value = plain(proposal.value)
    if isinstance(value, tuple) or listed or type(value) not in (int, float):
        return value
    return float(value) + (neutral if proposal.kind == "trim" else 0.0)


def plain(value: object) -> Value:
    """A numpy scalar as Python's own; everything else as it is, for the guards to judge."""
    if isinstance(value, tuple | list):
        return tuple(plain(part) for part in value)  # type: ignore[misc]
    return value.item() if isinstance(value, np.generic) else value  # type: ignore[return-value]


def gather(
    station: Station, held: Held, *, tag: str, case: Case | None, current: Scalar | None, now_ns: int, intent: int | None, healthy: bool
) -> Facts:
    """The facts for one request. Without a case (on the way back to neutral) the diagnosis' side stays empty."""
    health = station.health()
    return Facts(
        contract=ContractFacts(
            now=held.described, armed=held.armed_as, config_hash=station.config_hash, armed_hash=held.config_hash
        ),
        model=_model(station, case),
        inputs=_inputs(case, now_ns),
        output=_output(case),
        persistence=_persistence(held, now_ns),
        wish=_wish(station, case),
        spent=held.budgets.spent(now_ns, current),
        interlocks=told_interlocks(station, tag),
        operator=_operator(station, held, tag, current, now_ns),
        mode=_mode(station, tag, now_ns),
        rival=RivalFacts(epoch=health.epoch, newest=health.newest_epoch),
        own=SelfFacts(
            clock_stepped=health.clock_stepped,
            jitter_s=health.jitter_s,
            ledger_healthy=healthy,
            disk_free=health.disk_free,
            intent=intent,
        ),
    )  # fmt: skip


def _model(station: Station, case: Case | None) -> ModelFacts:
    card = station.owner.model
    return ModelFacts(
        verified=card.verified,
        hash=case.diagnosis.model_hash if case else card.hash,
        admitted_hash=card.hash,
        loops=card.loops,
        tier=card.tier,
        version=card.version,
        floor=card.floor,
    )


def _inputs(case: Case | None, now_ns: int) -> InputFacts | None:
    if case is None:
        return None
    window = case.window
    return InputFacts(
        fit=window.fit and (window.due_ns is None or now_ns < window.due_ns),
        newest=_newest(window),
        age_s=(now_ns - window.mono_ns) / 1e9,
        end_ns=window.end_ns,
        previous_end_ns=case.previous_end_ns,
        good_windows=case.good_windows,
    )


def _newest(window: Window) -> tuple[float, ...]:
    """The last row; of a picture its mean: bytes are finite whatever they show."""
    if not window.values.size:
        return ()
    return (float(window.values.mean()),) if window.values.dtype == np.uint8 else tuple(window.values[:, -1].tolist())


def _output(case: Case | None) -> OutputFacts | None:
    if case is None:
        return None
    said = case.diagnosis
    return OutputFacts(
        status=said.status,
        score=_float(said.score),
        confidence=_float(said.confidence),
        novelty=_float(said.novelty),
    )


def _float(value: object) -> float | None:
    found = plain(value) if value is not None else None
    return found if type(found) is float or type(found) is int else None


def _persistence(held: Held, now_ns: int) -> PersistenceFacts:
    seconds = (now_ns - held.wanted_since_ns) / 1e9 if held.wanted else 0.0
    return PersistenceFacts(windows=held.wanted_windows, seconds=seconds)


def _wish(station: Station, case: Case | None) -> WishFacts | None:
    if case is None:
        return None
    return WishFacts(
        loop=case.decision.loop,
        window=case.window.seq,
        diagnosed=case.diagnosis.window,
        decided=case.decision.window,
        wishes=frozenset((kind, tag, target) for tag, (kind, target) in case.wishes.items()),
    )


def told_interlocks(station: Station, tag: str) -> tuple[tuple[str, bool | None], ...] | None:
    """Each interlock of a tag as it stands now; None if they are not those of the configuration."""
    compiled, written = station.interlocks.get(tag, ()), station.writes[tag].interlocks
    if len(compiled) != len(written):
        return None
    told = []
    for name, interlock in zip(written, compiled, strict=True):
        values = {needed: reading for needed in interlock.names if (reading := station.present(needed)) is not None}
        told.append((name, interlock.truth(values)))
    return tuple(told)


def _operator(station: Station, held: Held, tag: str, current: Scalar | None, now_ns: int) -> OperatorFacts:
    base = station.writes[tag].base
    return OperatorFacts(
        current=current,
        expected=None if held.taken else held.value,
        base=value_of(station.present(base)) if base else None,
        base_armed=held.base,
        other_writer=sum(now_ns - at < FOREIGN_NS for at in held.foreign_ns) >= FOREIGN_MOST,
        stopped=station.stopped,
    )


def _mode(station: Station, tag: str, now_ns: int) -> ModeFacts:
    given = station.modes.approval(tag, now_ns)
    return ModeFacts(
        mode=station.modes.mode.value,
        until_ns=station.modes.until_ns,
        approval=Approval(tag=given.tag, value=given.value, expires_ns=given.expires_ns) if given else None,
    )
