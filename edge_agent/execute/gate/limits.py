"""What does the configuration allow for one tag of one loop? No defaults: who builds it has to say everything."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.execute.gate.facts import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The fence around one tag. Units are the tag's; None is "not configured", which never widens anything but budgets."""

    loop: str
    tag: str
    tier: int
    writable: bool  # `write: true` and not safety-related
    unit: str | None
    low: float | None
    high: float | None
    values: tuple[Scalar, ...] | None
    step: float | None
    neutral: float
    tolerance: float  # how far a read-back may be off
    rate_up: float | None  # per second
    rate_down: float | None
    max_step: float | None
    min_interval_s: float
    per_hour: int
    reversals_per_hour: int
    change: float | None  # budget: sum of absolute changes
    drift: float | None  # budget: how far apart the tag's extremes may lie
    interlocks: tuple[str, ...]
    has_base: bool
    good_windows: int
    max_age_s: float
    persist_windows: int
    persist_s: float
    score_low: float | None
    score_high: float | None
    min_confidence: float | None
    max_novelty: float | None
    max_jitter_s: float
    min_disk: float
