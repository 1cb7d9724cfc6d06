"""Where in a decoded JSON document is the value? `a.b[0]["odd key"]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_STEP = re.compile(r"""\.?([^.\[\]"]+)|\[(\d{1,6})\]|\["([^"]+)"\]""")


class Missing:
    """Nothing is there."""


MISSING: Final = Missing()


def parse(path: str) -> tuple[str | int, ...]:
    """Steps of a path: keys and list places. ValueError where it is not understood."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or (at == 0 and path[0] == "."):
            raise ValueError(f"{path!r} is not understood at {path[at:]!r}; write it like a.b[0]")
        name, place, quoted = match.groups()
        steps.append(int(place) if place is not None else name or quoted)
        at = match.end()
    return tuple(steps)


def getter(path: str | None) -> Callable[[Any], Any]:
    """A function from a document to what the path leads to, or MISSING. Never raises."""
    steps = parse(path or "")
    if not steps:
        return lambda doc: doc
    if len(steps) == 1 and isinstance(steps[0], str):
        key = steps[0]
        return lambda doc: doc.get(key, MISSING) if type(doc) is dict else MISSING
    return lambda doc: _walk(doc, steps)


def _walk(doc: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        if isinstance(step, str):
            doc = doc.get(step, MISSING) if type(doc) is dict else MISSING
        else:
            doc = doc[step] if type(doc) is list and step < len(doc) else MISSING
        if doc is MISSING:
            return MISSING
    return doc
