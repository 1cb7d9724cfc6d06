"""Between which source times may a tag's values be missing after an outage? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from edge_agent.messages import Sample

_MARGIN_NS = 1_000_000_000  # by how much the way here may have become longer since the tag's last value


class Moment(NamedTuple):
    """One instant on both of our clocks."""

    wall_ns: int
    mono_ns: int


def hole(last: Sample | None, heard: Moment, now: Moment) -> tuple[int, int]:
    """From what was not heard any more until now, by the clock that stamped the tag's `last` value. `heard`: when the link last
    brought anything. A value on a slow link is older than its arrival, and so are those that were lost behind it."""
    if last is None:
        return _ordered(heard.wall_ns, now.wall_ns)
    start_ns = last.source_ns + max(0, heard.mono_ns - last.mono_ns - _MARGIN_NS)
    end_ns = max(now.wall_ns, last.source_ns + now.mono_ns - last.mono_ns)  # a device's clock may be ahead of ours
    return _ordered(start_ns, end_ns)


def common(lasts: Mapping[str, Sample | None], heard: Moment, now: Moment) -> tuple[int, int]:
    """One hole that holds those of all these tags."""
    holes = [hole(last, heard, now) for last in lasts.values()] or [_ordered(heard.wall_ns, now.wall_ns)]
    return min(start for start, _ in holes), max(end for _, end in holes)


def _ordered(a: int, b: int) -> tuple[int, int]:
    """Our wall clock may have been set meanwhile."""
    return (a, b) if a <= b else (b, a)
