"""What travels between the links of the loop. Frozen values, no behaviour beyond reading themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

# What a tag may carry: a number, a truth value, a text, a block of samples (float32, shape [n]) of a waveform, or a picture
# (uint8, shape [H, W], or [H, W, 3] in the order red, green, blue).
Scalar = float | int | bool | str
if TYPE_CHECKING:  # numpy costs 0.1 s, and `edge-agent check` has no use for it
    import numpy as np
    from numpy.typing import NDArray

    Value = Scalar | NDArray[np.float32] | NDArray[np.uint8] | None
else:
    Value = Any


class Quality(IntFlag):
    """Quality of a value: the OPC UA severities in the low bits, our reasons above them. 0 is good."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2
    STALE = 1 << 2  # older than the tag's max_age
    GAP = 1 << 3  # nothing was received where something was due
    RANGE = 1 << 4  # outside the sensor's range
    NOT_FINITE = 1 << 5  # NaN or infinity
    FLAT = 1 << 6  # has not moved for longer than the tag's max_flat
    LATE = 1 << 7  # came after its row had been cut
    FUTURE = 1 << 8  # source time ahead of ours by more than the allowed skew
    HELD = 1 << 9  # not measured here: the last value, or a line between two
    OVERFLOW = 1 << 10  # the server dropped values before this one
    LINK = 1 << 11  # the connector has no link
    TYPE = 1 << 12  # not of the declared type, or could not be decoded


UNFIT = (
    Quality.BAD
    | Quality.STALE
    | Quality.GAP
    | Quality.RANGE
    | Quality.NOT_FINITE
    | Quality.FLAT
    | Quality.FUTURE
    | Quality.LINK
    | Quality.TYPE
)
"""With any of these bits a value is no evidence. UNCERTAIN alone is fit only where the tag says `accept_uncertain`."""


class Sample(NamedTuple):
    """One value of one tag as a connector received it. Times in ns: wall clock UTC, except `mono_ns`."""

    tag: str
    value: Value
    quality: int
    source_ns: int  # stamped by the device; equals received_ns where the device stamps nothing
    received_ns: int
    mono_ns: int  # our monotonic clock at receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A declared hole: between these source times values of this tag (None: all of the connector's) may be missing."""

    connector: str
    tag: str | None
    start_ns: int
    end_ns: int
    reason: str
    lost: int | None = None  # how many, where it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """A connector's link came up, went down, or is being tried."""

    connector: str
    state: Literal["connecting", "up", "down"]
    reason: str
    mono_ns: int


class Reading(NamedTuple):
    """The newest value of a tag, with what one must know before using it."""

    value: Value
    quality: int
    source_ns: int
    age_s: float  # by the monotonic clock

    @property
    def fit(self) -> bool:
        """Whether the value is evidence."""
        return not self.quality & (UNFIT | Quality.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Part:
    """A part on its way from the trigger to the gate."""

    number: int
    triggered_ns: int  # on our time axis
    views: tuple[str, ...]  # the cameras that look at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A cut of aligned history: float32 [tags, rows], quality flags uint16 of the same shape, times in ns.

    Of a camera: one tag and its picture, uint8 [H, W] or [H, W, 3]; quality [1, 1]; empty where no picture came.
    """

    loop: str
    seq: int
    tags: tuple[str, ...]
    start_ns: int  # source time of the first row
    end_ns: int  # source time of the last row
    cut_ns: int  # wall clock when it was cut
    mono_ns: int  # monotonic clock when it was cut
    values: NDArray[Any]
    quality: NDArray[np.uint16]
    live: Mapping[str, Reading]  # every tag the loop's expressions may name, as it stood when the window was cut
    fit: bool  # every required channel good enough for the model
    reasons: tuple[str, ...] = ()  # why it is not fit: "flow: stale 4.2 s"
    part: Part | None = None
    due_ns: int | None = None  # monotonic: after this nothing that follows from the window may leave any more


DiagnosisStatus = Literal["ok", "unknown", "novel", "late", "failed"]


class Region(NamedTuple):
    """A place in a picture. Edges are shares of its width and height, 0..1, from the upper left corner."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Ballot(NamedTuple):
    """What one of several models said of a window."""

    model: str
    status: DiagnosisStatus
    score: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the model says of a window. Only status "ok" is evidence for an action."""

    loop: str
    window: int  # seq of the window
    end_ns: int
    status: DiagnosisStatus
    why: str = ""
    score: float | None = None  # smoothed and calibrated: 0 normal .. 1 abnormal; a regressor's value in its own unit
    raw: float | None = None
    lower: float | None = None  # a regressor's interval, in its own unit; of this window alone
    upper: float | None = None
    confidence: float | None = None  # 0..1
    novelty: float | None = None  # 0..1: share of the training windows that lay nearer to the training data
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    contributions: tuple[tuple[str, float], ...] = ()  # tag, share of the blame; largest first, sums to 1
    regions: tuple[Region, ...] = ()  # of a picture: what was found where, the surest first
    heat: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)  # of a picture: [h, w], higher is more to blame
    drifting: tuple[str, ...] = ()  # what has moved away from the training data for long: "flow level: +2.3 deviations"
    votes: tuple[Ballot, ...] = ()  # where several models look at a window: what each said
    model: str = ""  # name@version
    model_hash: str = ""


class Proposal(NamedTuple):
    """What a policy would like to do. `value` is absolute for "set", relative to the tag's neutral for "trim"."""

    kind: Literal["set", "trim", "call"]
    tag: str
    value: Scalar | tuple[Scalar, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy makes of a diagnosis. Wants nothing where `proposals` is empty."""

    loop: str
    seq: int
    window: int
    end_ns: int
    state: str
    previous: str
    proposals: tuple[Proposal, ...]
    reason: str
    unknown: bool = False  # a condition could not be decided: hold


class Mode(StrEnum):
    """What a loop may do, in rising order up to armed; then the ways down from armed."""

    OFF = "off"
    OBSERVE = "observe"
    ADVISE = "advise"
    ARMED = "armed"
    HOLD = "hold"
    SHED = "shed"
    LOCKOUT = "lockout"


OutcomeStatus = Literal["confirmed", "refused", "reverted", "no_response", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a proposal. "refused" without an intent: the gate said no."""

    loop: str
    tag: str
    status: OutcomeStatus
    value: Scalar | tuple[Scalar, ...]
    before: Scalar | None
    after: Scalar | None
    why: str
    intent: int | None
    decision: int
    write_ms: float | None = None  # decision to acknowledged write
    verify_ms: float | None = None  # write to read-back
    responded: bool = False  # the process itself answered the write


RecordKind = Literal[
    "window",
    "diagnosis",
    "decision",
    "intent",
    "outcome",
    "label",
    "gap",
    "mode",
    "model",
    "config",
    "operator",
    "sample",
    "agent",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the ledger. `payload` is JSON-able; arrays are blobs, named by their sha256."""

    epoch: int
    seq: int
    kind: RecordKind
    loop: str | None
    wall_ns: int
    mono_ns: int
    owner: str
    share: Literal["site", "company", "consortium"]
    payload: Mapping[str, Any]
    blobs: tuple[str, ...]
    prev: str
    hash: str


_M = TypeVar("_M", Diagnosis, Decision)


def changed(message: _M, **fields: Any) -> _M:
    """The message with other fields, as `dataclasses.replace` in half the time: for what is made anew at each turn."""
    made = object.__new__(type(message))
    for name in type(message).__slots__:
        object.__setattr__(made, name, fields.pop(name) if name in fields else getattr(message, name))
    if fields:
        raise TypeError(f"a {type(message).__name__} has no {', '.join(fields)}")
    return made
