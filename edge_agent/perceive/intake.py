"""Is this value good? Every sample is converted, checked and kept as its tag's newest reading here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.messages import Quality, Reading, Sample, Value
from edge_agent.perceive.offset import ClockOffset

_NS = 1_000_000_000
# Plain ints: an IntFlag costs half a microsecond each time it is combined.
_UNCERTAIN = int(Quality.UNCERTAIN)
_FUTURE = int(Quality.FUTURE)
_RANGE = int(Quality.RANGE)
_NOT_FINITE = int(Quality.NOT_FINITE)
_BAD = int(Quality.BAD)
_FLAT = int(Quality.FLAT)
_LINK = int(Quality.LINK)
_STALE = int(Quality.STALE)
_NUMBERS = (float, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRules:
    """What is expected of a tag's values; times in seconds, range in the tag's unit."""

    name: str
    connector: str
    scale: float = 1.0  # value in the tag's unit = raw * scale + offset
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    max_age_s: float | None = None
    max_flat_s: float | None = None
    accept_uncertain: bool = False
    skew_s: float = 2.0


@dataclass(slots=True)
class Counts:
    """What came of a tag's samples."""

    samples: int = 0
    unfit: int = 0
    duplicates: int = 0
    out_of_order: int = 0


class TagState:
    """The newest reading of one tag, and the checks on the way there."""

    __slots__ = ("_flat_since_ns", "converts", "counts", "mono_ns", "offset", "quality", "rules", "time_ns", "value")

    def __init__(self, rules: TagRules) -> None:
        self.rules = rules
        self.converts = rules.scale != 1.0 or rules.offset != 0.0
        self.value: Value = None
        self.quality = int(Quality.GAP)
        self.time_ns = 0
        self.mono_ns = 0
        self._flat_since_ns = 0
        self.offset: ClockOffset | None = None  # of its connector, once a sample came
        self.counts = Counts()

    def take(self, sample: Sample, time_ns: int, received_ns: int) -> tuple[int, Value, int] | None:
        """Check a sample whose time on our axis is `time_ns`: (time, value, quality), or None for a duplicate."""
        value, quality = self._judge(sample.value, sample.quality)
        if time_ns - received_ns > self.rules.skew_s * _NS:
            quality |= _FUTURE
        if time_ns <= self.time_ns and self.counts.samples:
            if time_ns == self.time_ns and quality == self.quality and _same(value, self.value):
                self.counts.duplicates += 1
                return None
            self.counts.out_of_order += time_ns < self.time_ns
        if self.rules.max_flat_s is not None:
            quality |= self._flat(value, time_ns, self.rules.max_flat_s)
        self.counts.samples += 1
        if quality:
            self.counts.unfit += 1
        if time_ns >= self.time_ns and not quality & _FUTURE:
            self.value, self.quality, self.time_ns, self.mono_ns = value, quality, time_ns, sample.mono_ns
        return time_ns, value, quality

    def reading(self, mono_ns: int, link_up: bool, alive_ns: int) -> Reading:
        """The newest value as it stands now, with its age. `alive_ns`: when the device last said that all is unchanged."""
        age_s = (mono_ns - self.mono_ns) / _NS if self.mono_ns else math.inf
        quality = self.quality
        if not link_up:
            quality |= _LINK
        if self.rules.max_age_s is None:
            age_s = min(age_s, (mono_ns - alive_ns) / _NS) if self.mono_ns and alive_ns else age_s
        elif age_s > self.rules.max_age_s:
            quality |= _STALE
        return Reading(self.value, quality, self.time_ns, age_s)

    def _judge(self, value: Value, quality: int) -> tuple[Value, int]:
        rules = self.rules
        if type(value) is float and not self.converts and not quality and rules.low <= value <= rules.high and value - value == 0.0:
            return value, quality  # the usual case: a finite number (inf - inf is NaN), nothing against it
        if quality & _UNCERTAIN and rules.accept_uncertain:
            quality &= ~_UNCERTAIN
        if isinstance(value, _NUMBERS) and not isinstance(value, bool):
            if self.converts:
                value = value * rules.scale + rules.offset
            if rules.low <= value <= rules.high and math.isfinite(value):
                return value, quality
            return value, quality | (_RANGE if math.isfinite(value) else _NOT_FINITE)
        if isinstance(value, np.ndarray):
            if value.dtype == np.uint8:  # a picture: its quality was judged by its camera
                return value, quality
            if self.converts:
                value = (value * rules.scale + rules.offset).astype(np.float32)
            return value, quality if np.isfinite(value).all() else quality | _NOT_FINITE
        return value, quality if value is not None else quality | _BAD

    def _flat(self, value: Value, time_ns: int, most_s: float) -> int:
        if not _same(value, self.value):
            self._flat_since_ns = time_ns
        elif time_ns - self._flat_since_ns > most_s * _NS:
            return _FLAT
        return 0


class Intake:
    """All tags of an agent. Pure: our time axis is the wall time at the start plus monotonic time since, so a step of the
    wall clock moves nothing."""

    def __init__(self, rules: Mapping[str, TagRules], *, wall_ns: int, mono_ns: int) -> None:
        self._origin_ns = wall_ns - mono_ns
        self.tags = {name: TagState(rule) for name, rule in rules.items()}
        self.offsets: dict[str, ClockOffset] = {}
        self.links: dict[str, bool] = {}
        self.alive_ns: dict[str, int] = {}  # connector -> monotonic time
        self.unknown = 0
        self.clock_shifts = 0
        self._skew_ns = int(min((r.skew_s for r in rules.values()), default=2.0) * _NS)

    def axis_ns(self, mono_ns: int) -> int:
        """Our time axis at a monotonic time."""
        return self._origin_ns + mono_ns

    def take(self, sample: Sample) -> tuple[int, Value, int] | None:
        """Check one sample; None if it is a duplicate or of a tag nobody declared."""
        state = self.tags.get(sample.tag)
        if state is None:
            self.unknown += 1
            return None
        received_ns = self._origin_ns + sample.mono_ns
        if sample.source_ns == sample.received_ns:  # stamped by us: no other clock, and a step of ours is none of the value
            return state.take(sample, received_ns, received_ns)
        offset = state.offset or self._offset_of(state)
        if offset.observe(sample.source_ns, received_ns):
            self.clock_shifts += 1
            self._reopen(state.rules.connector)
        return state.take(sample, sample.source_ns + offset.shift_ns, received_ns)

    def reading(self, tag: str, mono_ns: int) -> Reading:
        """The newest reading of a tag as it stands at `mono_ns`."""
        state = self.tags[tag]
        connector = state.rules.connector
        return state.reading(mono_ns, self.links.get(connector, False), self.alive_ns.get(connector, 0))

    def _offset_of(self, state: TagState) -> ClockOffset:
        offset = self.offsets.get(state.rules.connector)
        if offset is None:
            offset = self.offsets[state.rules.connector] = ClockOffset(self._skew_ns)
        state.offset = offset
        return offset

    def _reopen(self, connector: str) -> None:
        """The device's clock was set: what is newest is judged afresh."""
        for state in self.tags.values():
            if state.rules.connector == connector:
                state.time_ns = 0


def _same(a: Value, b: Value) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is b
    return type(a) is type(b) and (a == b or (a != a and b != b))  # NaN is flat too
