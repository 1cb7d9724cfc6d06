"""Did the process answer a write? One observation for each excursion away from neutral, finished on later ticks. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_agent.config.model import Response
from edge_agent.execute.gate.values import number
from edge_agent.execute.orders import Order
from edge_agent.messages import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Waiting for a tag to move. `order` is the last step of the excursion: the time counts from it."""

    wanted: Response
    order: Order
    intent: int
    start: float | None  # the tag before the first step; None: could not be told
    started_ns: int
    deadline_ns: int
    answered: bool = False  # nothing more to wait for in this excursion


def begin(earlier: Watch | None, *, wanted: Response, order: Order, intent: int, reading: Reading | None, now_ns: int) -> Watch:
    """Watch after a confirmed step; a further step of the same excursion prolongs the earlier watch."""
    deadline = now_ns + int(wanted.within * 1e9)
    if earlier is not None and earlier.answered:
        return earlier
    if earlier is not None:
        return replace(earlier, order=order, intent=intent, deadline_ns=deadline)
    start = number(reading.value) if reading is not None and reading.fit else None
    return Watch(wanted=wanted, order=order, intent=intent, start=start, started_ns=now_ns, deadline_ns=deadline)


def judge(watch: Watch, reading: Reading | None, now_ns: int) -> tuple[bool, str] | None:
    """(answered, why), or None while it may still come or already came."""
    if watch.answered:
        return None
    now = number(reading.value) if reading is not None and reading.fit else None
    name, by = watch.wanted.tag, watch.wanted.by
    if now is not None and watch.start is not None:
        moved = (now - watch.start) * (1 if watch.wanted.direction == "up" else -1)
        if moved >= by:
            return True, f"{name} moved {watch.wanted.direction} by {moved:g} within {(now_ns - watch.started_ns) / 1e9:.1f} s"
    if now_ns < watch.deadline_ns:
        return None
    if watch.start is None:
        return False, f"{name} could not be read as the write began"
    return False, f"{name} went from {watch.start:g} to {'unknown' if now is None else f'{now:g}'}, not {watch.wanted.direction} by {by:g}"
