"""How does the configuration of a write become the gate's limits?"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.config.model import Loop, Tag, Write
from edge_agent.execute.gate.facts import Kind
from edge_agent.execute.gate.limits import Limits
from edge_agent.execute.ramp import Pace

_PART_S = 2.0  # after this nothing is under way any more that a part's verdict could still change; its own deadline is tighter
_ANSWER_S = 0.25  # the gate says that it has a verdict, or the next part must not wait for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTerms:
    """What the admitted model's card allows. Built by the app from the bundle; tightened by `diagnose.trust`."""

    name: str
    hash: str
    verified: bool  # signature and hashes held
    tier: int  # the highest the card allows
    loops: frozenset[str] = frozenset({"*"})
    version: tuple[int, ...] = ()
    floor: tuple[int, ...] = ()  # version that was armed last; () for none
    score: tuple[float | None, float | None] = (0.0, 1.0)
    min_confidence: float | None = None
    max_novelty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the gate demands beside the configuration. Defaults for a box beside a machine with windows of about a second."""

    good_windows: int = 3  # fit windows in a row before a write
    max_age_s: float = 5.0  # from the cut of the window to the write
    persist_windows: int = 2  # a trim has to be wanted this often in a row; a set or call acts on the first
    persist_s: float = 0.0
    max_jitter_s: float = 1.0
    min_disk: float = 200e6
    write_timeout_s: float = 2.0
    read_timeout_s: float = 2.0
    settle_s: float = 30.0  # how long a write of unknown outcome may still take effect
    audit_s: float = 10.0  # our tags are read back from the device this often even where nothing seems to have changed
    backoff_s: float = 5.0  # after a write that the plant did not do as it was told; twice as long each time
    longest_hold_s: float = 300.0
    starved_s: float | None = 10.0  # without a window for this long the inputs are bad; None where windows follow parts or cycles


def bounds_of(loop: Loop, min_disk: float) -> Bounds:
    """The bounds that fit a loop's pace: windows on a grid are missed after three, those of parts and cycles never."""
    seen = loop.perceive
    if seen.part is not None:  # each part is judged by itself, and its verdict is worth nothing later
        return Bounds(
            good_windows=1,
            max_age_s=_PART_S,
            min_disk=min_disk,
            starved_s=None,
            write_timeout_s=_ANSWER_S,
            settle_s=_PART_S,
            backoff_s=_ANSWER_S,
        )
    paced = seen.every is not None and seen.follow is None and seen.cycle is None
    starved_s = max(10.0, 3.0 * (seen.every or 0.0) * seen.hop) if paced else None
    return Bounds(max_age_s=max(5.0, 2.0 * loop.diagnose.timeout), min_disk=min_disk, starved_s=starved_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose writes these are."""

    loop: str
    tier: int
    model: ModelTerms
    bounds: Bounds


def limits(owner: Owner, tag: str, write: Write, *, spec: Tag | None, kind: Kind) -> Limits:
    """The fence for one tag and one kind of wish."""
    model, bounds = owner.model, owner.bounds
    low, high = write.limits or (None, None)
    speed = pace(write)
    return Limits(
        loop=owner.loop,
        tag=tag,
        tier=owner.tier,
        writable=spec is not None and spec.write and not spec.safety,
        unit=spec.unit if spec else None,
        low=low,
        high=high,
        values=None if write.values is None else tuple(write.values),
        step=write.step,
        neutral=write.neutral,
        tolerance=tolerance(write),
        rate_up=speed.rate_up,
        rate_down=speed.rate_down,
        max_step=speed.max_step,
        min_interval_s=write.min_interval,
        per_hour=write.per_hour,
        reversals_per_hour=write.reversals_per_hour,
        change=write.budget.change if write.budget else None,
        drift=write.drift.change if write.drift else None,
        interlocks=tuple(write.interlocks),
        has_base=write.base is not None,
        good_windows=bounds.good_windows,
        max_age_s=bounds.max_age_s,
        persist_windows=bounds.persist_windows if kind == "trim" else 1,
        persist_s=bounds.persist_s if kind == "trim" else 0.0,
        score_low=model.score[0],
        score_high=model.score[1],
        min_confidence=model.min_confidence,
        max_novelty=model.max_novelty,
        max_jitter_s=bounds.max_jitter_s,
        min_disk=bounds.min_disk,
    )


def pace(write: Write) -> Pace:
    """How fast a tag may move. Without `max_step` one step is what the rate gives in `min_interval`, but at least `step`."""
    down = write.rate if write.rate_down is None else write.rate_down
    by_rate = max(write.rate or 0.0, down or 0.0) * write.min_interval
    largest = write.max_step or (max(by_rate, write.step or 0.0) if by_rate else None)
    return Pace(step=write.step, max_step=largest, rate_up=write.rate, rate_down=down)


def tolerance(write: Write) -> float:
    """How far a read-back may be off: as configured, else half a step, else the rounding of a 32-bit float."""
    if write.verify.tolerance is not None:
        return write.verify.tolerance
    if write.step is not None:
        return write.step / 2
    return 1e-6 * max(1.0, *(abs(end) for end in write.limits or (0.0,)))


def problems(write: Write) -> list[str]:
    """What would make the gate refuse every write of this tag; for `edge-agent check`. Each says how to mend it."""
    found = []
    if write.limits is None and write.values is None:
        found.append("neither `limits` nor `values`: nothing will ever be written; say what is allowed")
    if write.limits is not None and write.rate is None and write.max_step is None:
        found.append("neither `rate` nor `max_step`: no number will ever be written; add `rate: 50/min` or the like")
    if write.limits is not None and not write.limits[0] < write.limits[1]:
        found.append(f"lower limit {write.limits[0]} is not below the upper {write.limits[1]}; swap or widen them")
    if write.limits is not None and not write.limits[0] <= write.neutral <= write.limits[1]:
        found.append(f"neutral {write.neutral} lies outside the limits; a trim could not return")
    if write.step is not None and write.max_step is not None and write.max_step < write.step:
        found.append(f"max_step {write.max_step} is smaller than step {write.step}: nothing could ever move; raise it")
    return found
