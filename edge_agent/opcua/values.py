"""What do an OPC UA value, its StatusCode and its time stamps mean in our terms?"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np

from edge_agent.messages import Quality, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEVERITY = (int(Quality.GOOD), int(Quality.UNCERTAIN), int(Quality.BAD), int(Quality.BAD))  # 11 is reserved: treat as Bad
_OVERFLOW = 0x480  # InfoType DataValue + Overflow: OPC 10000-4, 7.39.2. The code's name still says Good.
_INFO_BITS = 0x0000FFFF
_NUMBERS = frozenset(range(2, 12))  # SByte .. Double: OPC 10000-6, 5.1.2
BOOLEAN, FLOAT, DOUBLE, STRING, LOCALIZED_TEXT = 1, 10, 11, 12, 21
INTEGER_RANGES = {
    2: (-(2**7), 2**7 - 1),
    3: (0, 2**8 - 1),
    4: (-(2**15), 2**15 - 1),
    5: (0, 2**16 - 1),
    6: (-(2**31), 2**31 - 1),
    7: (0, 2**32 - 1),
    8: (-(2**63), 2**63 - 1),
    9: (0, 2**64 - 1),
}
"""Built-in type number -> lowest and highest value: SByte, Byte, Int16, UInt16, Int32, UInt32, Int64, UInt64."""


def overflowed(code: int) -> bool:
    """Whether the server says that it dropped values next to this one."""
    return code & _OVERFLOW == _OVERFLOW


def quality_of(code: int) -> int:
    """A StatusCode's severity and overflow bits as Quality flags."""
    quality = _SEVERITY[code >> 30 & 3]
    return quality | Quality.OVERFLOW if overflowed(code) else quality


@cache
def code_name(code: int) -> str:
    """The name of a StatusCode without its info bits: BadSensorFailure."""
    from asyncua import ua

    bare = code & ~_INFO_BITS
    name = str(ua.StatusCode(bare).name)
    known = name not in ("Good", "Uncertain", "Bad") or not bare & 0x0FFF0000  # asyncua names what it does not know by its severity
    return name if known else f"0x{bare:08X}"


def nanoseconds(stamp: datetime | None) -> int:
    """Nanoseconds since 1970 UTC; 0 where the server gave no time (absent, or before 1970)."""
    if stamp is None:
        return 0
    past = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - _EPOCH
    return max(0, (past.days * 86_400 + past.seconds) * 1_000_000_000 + past.microseconds * 1000)


def value_of(variant: Any, code: int, element: bool = False) -> tuple[Value, int]:
    """A Variant as our value, and TYPE where it has no meaning to us. `element`: one element of an array was asked for."""
    value = variant.Value if variant is not None else None
    if value is None:
        return None, 0 if code >> 31 else int(Quality.TYPE)  # a Bad status comes without a value: that is no type error
    kind = int(variant.VariantType.value)
    if isinstance(value, list):
        if element and len(value) == 1:
            return _scalar(value[0], kind)
        return _array(value, kind)
    return _scalar(value, kind)


def _scalar(value: Any, kind: int) -> tuple[Value, int]:
    if kind in _NUMBERS or kind in (BOOLEAN, STRING):
        return value, 0
    if kind == LOCALIZED_TEXT:
        return value.Text or "", 0
    return None, int(Quality.TYPE)


def _array(value: list[Any], kind: int) -> tuple[Value, int]:
    if kind in _NUMBERS or kind == BOOLEAN:
        return np.asarray(value, np.float32).ravel(), 0  # a matrix row by row
    return None, int(Quality.TYPE)


def same(a: Value, b: Value, tolerance: float = 0.0) -> bool:
    """Whether two values are the same to within a dead band. NaN is the same as NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) <= tolerance
    return a == b
