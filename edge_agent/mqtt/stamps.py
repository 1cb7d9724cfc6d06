"""Which instant does a device's time field mean? Nanoseconds since 1970 UTC, or nothing where it means none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from edge_agent.mqtt.address import TimeFormat

_UNIT_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_LATEST_NS = 1 << 62  # the year 2116; beyond is a wrong unit, not a time
_LONGEST_ISO = 40


def stamp(time_format: TimeFormat) -> Callable[[Any], int | None]:
    """A function from a field's value to ns, None where it is no time. Never raises."""
    if time_format == "iso":
        return _iso
    unit = _UNIT_NS[time_format]
    return lambda value: _number(value, unit)


def _number(value: Any, unit: int) -> int | None:
    if type(value) is str and len(value) <= _LONGEST_ISO:
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            return None
    if type(value) is int:
        ns = value * unit
    elif type(value) is float and -1e30 < value < 1e30:
        ns = round(value * unit)
    else:
        return None
    return ns if 0 < ns < _LATEST_NS else None


def _iso(value: Any) -> int | None:
    """A time without a zone is taken for UTC."""
    if type(value) is not str or len(value) > _LONGEST_ISO:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    delta = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    ns = (delta.days * 86400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000
    return ns if 0 < ns < _LATEST_NS else None
