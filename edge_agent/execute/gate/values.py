"""When is a value a number, when are two values the same, and can a device's type carry it?"""

from __future__ import annotations

import math

EXACT = 2**53  # above this a float no longer holds every integer
GRAIN = 1e-6  # share of a step by which a multiple of it may be off: rounding noise, never half a step
ROUNDING = 1e-9  # relative noise of sums and products of floats


def number(value: object) -> float | None:
    """The value as a float if it is a plain finite number, else None. True is not 1, "1" is not 1."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int:
        return float(value) if abs(value) <= EXACT else None
    return None


def same(left: object, right: object, tolerance: float) -> bool:
    """Whether both are numbers at most `tolerance` apart, or the same switch, or the same text."""
    a, b = number(left), number(right)
    if a is not None and b is not None:
        return at_most(abs(a - b), tolerance)
    return type(left) is type(right) and type(left) in (bool, str) and left == right


def identical(left: object, right: object) -> bool:
    """Whether both are the same value of the same type; of tuples, part by part."""
    if type(left) is tuple and type(right) is tuple:
        return len(left) == len(right) and all(map(identical, left, right))
    return type(left) is type(right) and left == right


def at_most(amount: float, bound: float) -> bool:
    """amount <= bound, forgiving the rounding of the last digits. NaN is never at most anything."""
    return amount <= bound + abs(bound) * ROUNDING + 1e-12


def between(value: float, start: float, end: float) -> bool:
    """Whether value lies on the way from start to end, both included."""
    return start <= value <= end or end <= value <= start


def multiple(value: float, step: float) -> bool:
    """Whether value is a whole number of steps."""
    count = value / step
    return abs(count) <= EXACT and abs(count - round(count)) <= GRAIN


def carries(device_type: object, value: object) -> bool:
    """Whether the device's type holds this value exactly in kind and range. A type we do not know carries nothing."""
    if type(device_type) is not str:
        return False
    name = device_type.lower()
    if name in _WHOLE:
        count, (low, high) = number(value), _WHOLE[name]
        return count is not None and count.is_integer() and low <= count <= high
    if name in _REAL:
        return number(value) is not None
    if name in _SWITCH:
        return type(value) is bool
    if name in _TEXT:
        return type(value) is str
    return name in _ANY


def _whole() -> dict[str, tuple[int, int]]:
    ranges: dict[str, tuple[int, int]] = {}
    for bits in (8, 16, 32, 64):
        signed, unsigned = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), (0, 2**bits - 1)
        ranges |= {f"int{bits}": signed, f"i{bits}": signed, f"uint{bits}": unsigned, f"u{bits}": unsigned}
    return ranges | {"sbyte": ranges["int8"], "byte": ranges["uint8"], "integer": ranges["int64"]}


_WHOLE = _whole()
_REAL = frozenset({"float", "double", "f32", "f64", "number"})
_SWITCH = frozenset({"boolean", "bool"})
_TEXT = frozenset({"string", "str", "text"})
_ANY = frozenset({"json", "mqtt", "method"})  # the device does not say: the configuration's limits alone count
