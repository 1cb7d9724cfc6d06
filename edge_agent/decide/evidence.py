"""What may an expression take for a fact? Everything else is unknown (None). Called by compiled expressions; never raises.

A reading counts only while it is fit; NaN and infinity never count. A switch may come as 0 and 1, a counter as True.
"""

from __future__ import annotations

from typing import Any

from edge_agent.decide.words import Value
from edge_agent.messages import UNFIT, Quality, Reading

_UNFIT = int(UNFIT)
_UNCERTAIN = int(Quality.UNCERTAIN)
_NO_EVIDENCE = _UNFIT | _UNCERTAIN  # Reading.fit, without IntFlag's cost


def plain(value: Any) -> Value | None:
    """A finite number, a truth or a text."""
    if isinstance(value, Reading):
        if value.quality & _NO_EVIDENCE:
            return None
        value = value.value
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _finite(value)
    return _numpy(value) if type(value).__module__ == "numpy" else None


def _numpy(value: Any) -> Value | None:
    """One of numpy's own numbers. A block of samples is no single value."""
    import numpy as np  # loaded already, by whoever made the value; `edge-agent check` must not pay 0.1 s for it

    if isinstance(value, np.bool_):
        return bool(value)
    return _finite(value) if isinstance(value, np.integer | np.floating) else None


def number(value: Any) -> float | None:
    """As a number; True is 1."""
    bare = value.value if type(value) is Reading and not value.quality & _NO_EVIDENCE else value
    if type(bare) is float:  # the usual case, five times faster
        return bare if bare - bare == 0.0 else None
    found = plain(value)
    return None if found is None or isinstance(found, str) else float(found)


def _finite(value: Any) -> float | None:
    try:
        found = float(value)
    except OverflowError:  # an int of hundreds of digits
        return None
    return found if found - found == 0.0 else None


def text(value: Any) -> str | None:
    """As a text."""
    found = plain(value)
    return found if isinstance(found, str) else None


def truth(value: Any) -> bool | None:
    """As a truth; of the numbers only 0 and 1 are one."""
    found = plain(value)
    if isinstance(found, bool):
        return found
    return None if found is None or isinstance(found, str) or found not in (0.0, 1.0) else found == 1.0


def same(one: Value | None, other: Value | None) -> bool | None:
    """Whether two values of unknown kind are equal; a text and a number cannot be compared."""
    if one is None or other is None or isinstance(one, str) != isinstance(other, str):
        return None
    return one == other


def good(value: Any) -> bool:
    """Whether there is a value that is evidence. Never unknown."""
    return plain(value) is not None


def age(value: Any) -> float | None:
    """Seconds since the reading came."""
    return number(value.age_s) if isinstance(value, Reading) else None


def quality(value: Any) -> str:
    """good, uncertain or bad."""
    if isinstance(value, Reading) and value.quality & _NO_EVIDENCE == _UNCERTAIN:
        return "uncertain"
    return "good" if good(value) else "bad"


def share(shares: Any, name: str) -> float | None:
    """One entry of a table of shares; what the table does not name has none of it."""
    return number(shares.get(name, 0.0)) if isinstance(shares, dict) and shares else None
