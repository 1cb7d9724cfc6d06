"""What does the executor of one loop work with? Its collaborators, and what it remembers of each tag."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from edge_agent.clock import Clock
from edge_agent.config.model import Tag, Write
from edge_agent.contracts import TagContract, Writable
from edge_agent.execute.budgets import Budgets
from edge_agent.execute.gate.facts import Described, Kind, Scalar, Value
from edge_agent.execute.gate.limits import Limits
from edge_agent.execute.gate.values import number
from edge_agent.execute.orders import Order
from edge_agent.execute.response import Watch
from edge_agent.execute.terms import Owner, limits
from edge_agent.messages import Mode, Reading

ModeEvent = Literal[
    "raise", "rearm", "tick", "inputs_bad", "inputs_good", "ledger_bad", "ledger_good", "unknown", "resolved", "override", "failed", "shed",
    "shed_done", "rival", "broken", "stop", "reset",
]  # fmt: skip


class Change(Protocol):
    """A transition of the mode."""

    @property
    def before(self) -> Mode: ...
    @property
    def after(self) -> Mode: ...
    def payload(self) -> dict[str, Any]: ...


class Yes(Protocol):
    """A person's approval of one value."""

    @property
    def tag(self) -> str: ...
    @property
    def value(self) -> Value: ...
    @property
    def expires_ns(self) -> int: ...


class ModeKeeper(Protocol):
    """The loop's modes, as edge_agent.decide.modes keeps them."""

    @property
    def mode(self) -> Mode: ...
    @property
    def reason(self) -> str: ...
    @property
    def until_ns(self) -> int | None: ...

    def refusal(
        self, event: Literal["raise", "rearm", "reset"], *, to: Mode | None = None, reason: str = "", for_s: float | None = None
    ) -> str | None: ...
    def apply(
        self, event: ModeEvent, now_ns: int, *, reason: str = "", by: str = "agent", to: Mode | None = None, for_s: float | None = None
    ) -> Change | None: ...
    def approval(self, tag: str, now_ns: int) -> Yes | None: ...
    def use(self, tag: str) -> None: ...


class Interlock(Protocol):
    """A compiled expression over live tags."""

    @property
    def names(self) -> frozenset[str]: ...
    def truth(self, values: Mapping[str, Any]) -> bool | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the agent itself is, as the app sees it. None where it cannot tell, which counts as a no."""

    clock_stepped: bool | None
    jitter_s: float | None
    disk_free: float | None  # bytes
    epoch: int | None  # ours
    newest_epoch: int | None  # of any agent with this loop's state


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """A write that may or may not have happened."""

    order: Order
    intent: int
    since_ns: int


@dataclass(slots=True, kw_only=True)
class Held:
    """What is remembered of one tag."""

    budgets: Budgets
    value: Scalar | None = None  # what we left it at, or found at arming; None: not ours to say
    base: Scalar | None = None  # the operator's setpoint at arming
    written_ns: int | None = None  # last write of ours
    moved: bool = False  # away from neutral by us, as a trim
    left: Scalar | None = None  # a trim that an earlier run did not take back
    taken: bool = False  # an operator has it: not written again before the next arming
    armed_as: Described | None = None
    config_hash: str | None = None  # at arming
    described: Described | None = None  # since the link came up
    unresolved: Unresolved | None = None
    watch: Watch | None = None
    failures: int = 0  # in a row
    not_before_ns: int = 0  # back-off after a failure
    foreign_ns: tuple[int, ...] = ()  # when others changed it
    looked_ns: int = 0  # last read-back of the supervision
    wanted: tuple[str, str] | None = None  # state and kind of the standing wish
    wanted_windows: int = 0
    wanted_since_ns: int = 0
    called: Value | None = None  # the call that is standing: a call acts once
    refused: tuple[object, ...] | None = None  # what was refused last, so that it is put on record once
    pending: Value | None = None  # tier 2: the value that waits for a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """Everything the executor of one loop works with."""

    owner: Owner
    writes: Mapping[str, Write]
    tags: Mapping[str, Tag]
    ports: Mapping[str, Writable]
    clock: Clock
    modes: ModeKeeper
    config_hash: str
    live: Callable[[str], Reading]
    interlocks: Mapping[str, Sequence[Interlock]]
    health: Callable[[], Health]
    stop_file: Path | None

    @property
    def stopped(self) -> bool:
        """Whether a person said stop. A file that cannot be looked for counts as there."""
        try:
            return self.stop_file is not None and self.stop_file.exists()
        except OSError:
            return True

    def fence(self, tag: str, kind: Kind) -> Limits:
        """The gate's limits for one kind of wish for one tag."""
        return limits(self.owner, tag, self.writes[tag], spec=self.tags.get(tag), kind=kind)

    def present(self, tag: str) -> Reading | None:
        """The freshest view of any tag; None if there is none."""
        try:
            return self.live(tag)
        except KeyError:
            return None

    def remember(self, now_ns: int) -> dict[str, Held]:
        """A fresh memory of every tag."""
        return {
            tag: Held(
                budgets=Budgets(
                    start_ns=now_ns,
                    change_s=write.budget.per if write.budget else None,
                    drift_s=write.drift.per if write.drift else None,
                )
            )
            for tag, write in self.writes.items()
        }

    def neutral(self, tag: str) -> float:
        return self.writes[tag].neutral

    def away(self, tag: str, held: Held) -> bool:
        """Whether a trim of ours still stands on the tag."""
        value = number(held.value)
        return held.moved and not held.taken and value is not None and value != self.neutral(tag)


def described(contract: TagContract) -> Described:
    """What the device said, as the gate takes it."""
    return Described(type=contract.type, writable=contract.writable, unit=contract.unit, low=contract.low, high=contract.high)
