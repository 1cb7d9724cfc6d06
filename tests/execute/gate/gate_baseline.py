"""A request that every guard permits, and how to change one fact of it: flip(case, "facts.model.verified", False)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge_agent.execute.gate.facts import (
    Approval,
    ContractFacts,
    Described,
    Facts,
    InputFacts,
    ModeFacts,
    ModelFacts,
    OperatorFacts,
    OutputFacts,
    PersistenceFacts,
    Request,
    RivalFacts,
    SelfFacts,
    SpentFacts,
    WishFacts,
)
from edge_agent.execute.gate.limits import Limits

NOW = 100_000_000_000


@dataclass(frozen=True)
class Case:
    """What `evaluate` takes."""

    request: Request
    facts: Facts
    limits: Limits


def described(**changes: Any) -> Described:
    return replace(Described(type="Double", writable=True, unit="rpm", low=-400.0, high=400.0), **changes)


def permitted() -> Case:
    """Trim from -20 to -30 on the way to -200; the tag may go from -300 to 300 in steps of 10."""
    return Case(
        request=Request(
            loop="p1", tag="speed", kind="trim", value=-30.0, target=-200.0, purpose="act", phase="permit", nonce="n1", now_ns=NOW
        ),
        facts=Facts(
            contract=ContractFacts(now=described(), armed=described(), config_hash="c1", armed_hash="c1"),
            model=ModelFacts(
                verified=True, hash="m1", admitted_hash="m1", loops=frozenset({"p1"}), tier=1, version=(1, 2, 0), floor=(1, 2, 0)
            ),
            inputs=InputFacts(fit=True, newest=(1.0, 2.5), age_s=0.5, end_ns=2_000, previous_end_ns=1_000, good_windows=3),
            output=OutputFacts(status="ok", score=0.9, confidence=0.8, novelty=0.2),
            persistence=PersistenceFacts(windows=2, seconds=5.0),
            wish=WishFacts(loop="p1", window=7, diagnosed=7, decided=7, wishes=frozenset({("trim", "speed", -200.0)})),
            spent=SpentFacts(
                change=90.0, lowest=-20.0, highest=0.0, since_last_s=12.0, writes_hour=9, reversals_hour=1, direction=-1
            ),
            interlocks=(("running", True), ("remote", True)),
            operator=OperatorFacts(
                current=-20.0, expected=-20.0, base=2900.0, base_armed=2900.0, other_writer=False, stopped=False
            ),
            mode=ModeFacts(mode="armed", until_ns=NOW + 1, approval=None),
            rival=RivalFacts(epoch=4, newest=4),
            own=SelfFacts(clock_stepped=False, jitter_s=0.5, ledger_healthy=True, disk_free=200e6, intent=17),
        ),
        limits=Limits(
            loop="p1",
            tag="speed",
            tier=1,
            writable=True,
            unit="rpm",
            low=-300.0,
            high=300.0,
            values=None,
            step=10.0,
            neutral=0.0,
            tolerance=5.0,
            rate_up=1.0,
            rate_down=1.0,
            max_step=10.0,
            min_interval_s=1.0,
            per_hour=10,
            reversals_per_hour=2,
            change=100.0,
            drift=30.0,
            interlocks=("running", "remote"),
            has_base=True,
            good_windows=3,
            max_age_s=0.5,
            persist_windows=2,
            persist_s=5.0,
            score_low=0.0,
            score_high=0.9,
            min_confidence=0.8,
            max_novelty=0.2,
            max_jitter_s=0.5,
            min_disk=200e6,
        ),
    )  # fmt: skip


def flip(case: Any, path: str, value: Any) -> Any:
    """The same with one field, named by its path, changed. `value` may be a function of the old value."""
    name, _, rest = path.partition(".")
    old = getattr(case, name)
    return replace(case, **{name: flip(old, rest, value) if rest else value(old) if callable(value) else value})


def flips(case: Any, changes: dict[str, Any]) -> Any:
    for path, value in changes.items():
        case = flip(case, path, value)
    return case


def returning() -> Case:
    """Back from -20 to -10 on the way to neutral, in hold, without any diagnosis."""
    return flips(
        permitted(),
        {
            "request.purpose": "return", "request.value": -10.0, "request.target": 0.0, "facts.mode.mode": "hold", "facts.inputs": None,
            "facts.output": None, "facts.persistence": None, "facts.wish": None, "facts.model": None,
        },
    )  # fmt: skip


def switching() -> Case:
    """Close a reject gate: a switch with listed values."""
    return flips(
        permitted(),
        {
            "request.kind": "set", "request.value": True, "request.target": True, "limits.values": (False, True), "limits.low": None,
            "limits.high": None, "limits.step": None, "facts.operator.current": False, "facts.operator.expected": False,
            "facts.contract.now": described(type="Boolean", unit=None, low=None, high=None),
            "facts.contract.armed": described(type="Boolean", unit=None, low=None, high=None),
            "facts.wish.wishes": frozenset({("set", "speed", True)}),
        },
    )  # fmt: skip


def calling() -> Case:
    """Call a method with two arguments from the list."""
    return flips(
        switching(),
        {
            "request.kind": "call", "request.value": (1, "a"), "request.target": (1, "a"), "limits.values": (1, "a"),
            "facts.operator.current": None, "facts.operator.expected": None,
            "facts.contract.now": Described(type="method", writable=True), "facts.contract.armed": Described(type="method", writable=True),
            "facts.wish.wishes": frozenset({("call", "speed", (1, "a"))}),
        },
    )  # fmt: skip


def approving() -> Case:
    """Tier 2: each value needs a person."""
    return flips(
        permitted(),
        {
            "limits.tier": 2, "facts.model.tier": 2,
            "facts.mode.approval": Approval(tag="speed", value=-30.0, expires_ns=NOW + 1),
        },
    )  # fmt: skip


BASES = {"act": permitted, "return": returning, "switch": switching, "call": calling, "tier2": approving}
