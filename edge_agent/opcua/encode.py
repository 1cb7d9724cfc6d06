"""Can this value go into this built-in type without a loss? If not, nothing is sent."""

from __future__ import annotations

import math
from typing import Any

from edge_agent.messages import Scalar
from edge_agent.opcua.values import BOOLEAN, DOUBLE, FLOAT, INTEGER_RANGES, STRING

_FLOAT_MAX = 3.4028234663852886e38  # IEEE 754 single


class Unfit(ValueError):
    """The value does not fit the node's type; the message says why."""


def fit(value: Scalar, kind: int, name: str) -> Any:
    """The value as asyncua wants it for built-in type number `kind`. Unfit rather than truncate, round or convert."""
    if kind == BOOLEAN or isinstance(value, bool):
        return _exactly(value, bool, kind == BOOLEAN, name)
    if kind == STRING or isinstance(value, str):
        return _exactly(value, str, kind == STRING, name)
    if kind in INTEGER_RANGES:
        return _integer(value, kind, name)
    if kind in (FLOAT, DOUBLE):
        return _real(value, kind, name)
    raise Unfit(f"the node is of type {name}, which the agent does not write")


def _exactly(value: Scalar, wanted: type, allowed: bool, name: str) -> Scalar:
    if not allowed or not isinstance(value, wanted):
        raise Unfit(f"{value!r} is not of the node's type {name}")
    return value


def _integer(value: float, kind: int, name: str) -> int:
    if not math.isfinite(value) or value != int(value):
        raise Unfit(f"{value!r} is no whole number, and the node is of type {name}")
    low, high = INTEGER_RANGES[kind]
    if not low <= value <= high:
        raise Unfit(f"{value!r} lies outside {name}: {low} to {high}")
    return int(value)


def _real(value: float, kind: int, name: str) -> float:
    if not math.isfinite(value):
        raise Unfit(f"{value!r} is not finite")
    if kind == FLOAT and abs(value) > _FLOAT_MAX:
        raise Unfit(f"{value!r} lies outside {name}")
    return float(value)
