"""Does the whole chain say yes, and what exactly may be written then? The actuator checks the permit again and uses it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.execute.gate.clauses import OK
from edge_agent.execute.gate.facts import Facts, Request, Scalar, Value
from edge_agent.execute.gate.guards import CHAIN, Guard
from edge_agent.execute.gate.limits import Limits
from edge_agent.execute.gate.values import identical, same

LONGEST_NS = 2_000_000_000  # a permit lives this long at most

EXCUSED_ON_RETURN = frozenset({"model", "inputs", "output", "persistence"})
"""The way back to neutral needs no diagnosis; everything that protects the machine and the operator still counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guard said. `why` is "ok" or the reason for the no."""

    guard: str
    ok: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """This value, to this tag, while it still reads `precondition`, once, until `expires_ns` (monotonic)."""

    loop: str
    tag: str
    value: Value
    precondition: Scalar | None  # None for a call: a method has no present value
    nonce: str
    expires_ns: int
    intent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Every guard's finding; `ok` if all that count say yes; a permit only then, and only once the intent is on disk."""

    findings: tuple[Finding, ...]
    ok: bool
    permit: Permit | None
    lockout: bool

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.ok)


def evaluate(request: Request, facts: Facts, limits: Limits, *, chain: Sequence[tuple[str, Guard]] = CHAIN) -> Verdict:
    """Ask every guard, every time."""
    broken = False
    findings = []
    for name, guard in chain:
        try:
            why = guard(request, facts, limits)
        except Exception as e:  # noqa: BLE001 - a guard that fails has not said yes: no, and lockout
            why, broken = f"the guard failed: {e!r}", True
        findings.append(Finding(name, why == OK, str(why)))
    excused = EXCUSED_ON_RETURN if request.purpose == "return" else frozenset[str]()
    ok = bool(findings) and all(finding.ok or finding.guard in excused for finding in findings) and not broken
    return Verdict(
        findings=tuple(findings),
        ok=ok,
        permit=_permit(request, facts) if ok and request.phase == "permit" else None,
        lockout=broken or _usurped(facts),
    )


def refusal(permit: Permit, *, loop: str, tag: str, value: Value, current: Scalar | None, tolerance: float, now_ns: int) -> str | None:
    """Why the actuator must not use this permit for this write, now; None if it may."""
    if (permit.loop, permit.tag) != (loop, tag) or not identical(permit.value, value):
        return f"the permit is for {permit.loop} {permit.tag} = {permit.value!r}, not for {loop} {tag} = {value!r}"
    left = permit.expires_ns - now_ns
    if not 0 < left <= LONGEST_NS:
        return "the permit has expired"
    if permit.precondition is not None and not same(current, permit.precondition, tolerance):
        return f"reads {current!r}, the permit was given at {permit.precondition!r}"
    return None


def _permit(request: Request, facts: Facts) -> Permit | None:
    intent = facts.own.intent if facts.own else None
    current = facts.operator.current if facts.operator else None
    if intent is None or type(request.nonce) is not str or not request.nonce:
        return None
    return Permit(
        loop=request.loop,
        tag=request.tag,
        value=request.value,
        precondition=None if request.kind == "call" else current,
        nonce=request.nonce,
        expires_ns=request.now_ns + LONGEST_NS,
        intent=intent,
    )


def _usurped(facts: Facts) -> bool:
    """Somebody else writes in our place: a newer agent, or another writer on the tag."""
    rival, operator = facts.rival, facts.operator
    newer = rival is not None and type(rival.epoch) is int and type(rival.newest) is int and rival.newest > rival.epoch
    return newer or (operator is not None and operator.other_writer is True)
