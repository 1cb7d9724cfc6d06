"""What may a guard look at? Everything is optional: what is missing (None) counts as a no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scalar = float | int | bool | str
Value = Scalar | tuple[Scalar, ...]
Kind = Literal["set", "trim", "call"]
Purpose = Literal["act", "return"]
Phase = Literal["propose", "permit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One value for one tag. "return" goes toward the tag's neutral; "propose" asks before the intent is on disk."""

    loop: str
    tag: str
    kind: Kind
    value: Value  # what would be written now
    target: Value  # where the policy wants to end; the value is a step on the way
    purpose: Purpose
    phase: Phase
    nonce: str
    now_ns: int  # monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the device says of the tag. None where it does not say."""

    type: str | None
    writable: bool | None
    unit: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFacts:
    """The tag as the device describes it, read since its link came up, beside how it was at arming."""

    now: Described | None = None
    armed: Described | None = None
    config_hash: str | None = None
    armed_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of the model that spoke."""

    verified: bool | None = None  # signature and every file's hash
    hash: str | None = None  # of the model that made the diagnosis
    admitted_hash: str | None = None  # of the model that was admitted for this loop
    loops: frozenset[str] | None = None  # the card's; "*" is any
    tier: int | None = None  # the highest the card allows
    version: tuple[int, ...] | None = None
    floor: tuple[int, ...] | None = None  # the last version that was armed; () for none


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """The window the diagnosis was made from."""

    fit: bool | None = None
    newest: tuple[float, ...] | None = None  # last row, one value a channel
    age_s: float | None = None  # since the window was cut, monotonic
    end_ns: int | None = None  # source time of the last row
    previous_end_ns: int | None = None  # of the window before; 0 for none
    good_windows: int | None = None  # fit ones in a row, this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFacts:
    """What the model said."""

    status: str | None = None
    score: float | None = None
    confidence: float | None = None
    novelty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistenceFacts:
    """For how long the policy has wanted this."""

    windows: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WishFacts:
    """What the policy wants, and from which window and diagnosis it was made."""

    loop: str | None = None
    window: int | None = None
    diagnosed: int | None = None  # the window the diagnosis belongs to
    decided: int | None = None  # the window the decision belongs to
    wishes: frozenset[tuple[str, str, Value]] | None = None  # (kind, tag, target), absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentFacts:
    """What has been used of the budgets, before this write."""

    change: float | None = None  # sum of absolute changes in the change budget's time
    lowest: float | None = None  # the tag's extremes in the drift budget's time
    highest: float | None = None
    since_last_s: float | None = None  # since the last write, or since start; inf is not known to have written
    writes_hour: int | None = None
    reversals_hour: int | None = None
    direction: int | None = None  # of the last change: 1 up, -1 down, 0 none yet


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFacts:
    """Whether the tag is still ours."""

    current: Scalar | None = None  # read from the device just now
    expected: Scalar | None = None  # what we wrote last, or found at arming
    base: Scalar | None = None  # the operator's own setpoint now
    base_armed: Scalar | None = None
    other_writer: bool | None = None
    stopped: bool | None = None  # the stop file is there, or a person said stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's yes to one value of one tag."""

    tag: str
    value: Value
    expires_ns: int  # monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFacts:
    """The loop's mode."""

    mode: str | None = None
    until_ns: int | None = None  # monotonic end of the arming
    approval: Approval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalFacts:
    """Which agent may write: the one with the newest epoch."""

    epoch: int | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfFacts:
    """The agent's own state."""

    clock_stepped: bool | None = None
    jitter_s: float | None = None
    ledger_healthy: bool | None = None
    disk_free: float | None = None  # bytes
    intent: int | None = None  # seq of the intent record, once it is on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the guards see."""

    contract: ContractFacts | None = None
    model: ModelFacts | None = None
    inputs: InputFacts | None = None
    output: OutputFacts | None = None
    persistence: PersistenceFacts | None = None
    wish: WishFacts | None = None
    spent: SpentFacts | None = None
    interlocks: tuple[tuple[str, bool | None], ...] | None = None
    operator: OperatorFacts | None = None
    mode: ModeFacts | None = None
    rival: RivalFacts | None = None
    own: SelfFacts | None = None
