"""What is one write on its way, and how does it look in the ledger?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.execute.gate.facts import Kind, Purpose, Scalar, Value
from edge_agent.execute.gate.permit import Finding
from edge_agent.messages import Outcome, OutcomeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One value for one tag, with everything needed to carry it out and to explain it later."""

    loop: str
    tag: str
    kind: Kind
    purpose: Purpose
    value: Value
    target: Value
    before: Scalar | None  # what the tag reads as the order is made
    tolerance: float
    verify_s: float
    decision: int  # seq; -1 where no decision asked for it (shed)
    window: int
    asked_ns: int  # monotonic
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)  # what the gate saw, for `edge-agent explain`

    def payload(self) -> dict[str, Any]:
        """The intent record."""
        return {
            "tag": self.tag,
            "kind": self.kind,
            "purpose": self.purpose,
            "value": plain(self.value),
            "target": plain(self.target),
            "before": self.before,
            "decision": self.decision,
            "window": self.window,
            "reason": self.reason,
            **self.evidence,
        }

    def outcome(
        self, status: OutcomeStatus, why: str, *, intent: int | None, after: Scalar | None = None, write_ms: float | None = None,
        verify_ms: float | None = None,
    ) -> Outcome:  # fmt: skip
        """What became of it."""
        return Outcome(
            loop=self.loop,
            tag=self.tag,
            status=status,
            value=self.value,
            before=self.before,
            after=after,
            why=why,
            intent=intent,
            decision=self.decision,
            write_ms=write_ms,
            verify_ms=verify_ms,
        )


def outcome_payload(outcome: Outcome, stage: str, findings: Sequence[Finding] = ()) -> dict[str, Any]:
    """The outcome record. `stage`: gate, write, resolution or response."""
    return {
        "tag": outcome.tag,
        "status": outcome.status,
        "stage": stage,
        "value": plain(outcome.value),
        "before": outcome.before,
        "after": outcome.after,
        "why": outcome.why,
        "intent": outcome.intent,
        "decision": outcome.decision,
        "write_ms": outcome.write_ms,
        "verify_ms": outcome.verify_ms,
        **({"findings": table(findings)} if findings else {}),
    }


def table(findings: Sequence[Finding]) -> list[list[Any]]:
    """Guard, yes or no, why: one row a guard."""
    return [[finding.guard, finding.ok, finding.why] for finding in findings]


def plain(value: Value) -> Scalar | list[Scalar]:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value
