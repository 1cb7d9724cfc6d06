"""What does one notification message become: samples for the sink, and gaps where the server lost something?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from edge_agent.clock import Clock
from edge_agent.contracts import Sink
from edge_agent.errors import PlantError
from edge_agent.messages import Gap, Quality, Sample
from edge_agent.opcua.items import HEARTBEAT, Item, Items
from edge_agent.opcua.values import code_name, nanoseconds, overflowed, quality_of, value_of

_CODES_KEPT = 100  # names of status codes that are counted one by one
_by_source = attrgetter("source_ns")
_Hole = tuple[str, int, int, str]  # tag, start, end, why


class SubscriptionLost(PlantError):
    """The subscription cannot be gone on with: a new one, and a declared gap."""


class Delivery:
    """Turns notifications into samples. Cheap: it runs in the event loop, once for each message."""

    def __init__(self, connector: str, items: Items, *, sink: Sink, clock: Clock, counts: Counter[str]) -> None:
        self._connector, self._items, self._sink, self._clock, self._counts = connector, items, sink, clock, counts
        self.codes: Counter[str] = Counter()  # of values that were not simply Good
        self.beats = 0
        self.beat_ns = 0
        self._burst: Counter[int] = Counter()  # values per item since the server's queues were last empty
        self._burst_from: dict[int, int] = {}

    def forget_beats(self) -> None:
        """A new subscription: its heartbeat has yet to be heard."""
        self.beats = 0
        self._burst.clear()
        self._burst_from.clear()

    def deliver(self, message: Any, *, more: bool, silent: bool, committed: Callable[[], None]) -> None:
        """Hand over one message. `more`: the server still holds notifications; `silent`: it had been quiet for too long."""
        from asyncua import ua

        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        batch: list[Sample] = []
        holes: list[_Hole] = []
        for data in message.NotificationData:
            if isinstance(data, ua.DataChangeNotification):
                for change in data.MonitoredItems:
                    self._take(change, wall_ns, mono_ns, silent=silent, batch=batch, holes=holes)
            elif isinstance(data, ua.StatusChangeNotification):
                raise SubscriptionLost(f"the server ended the subscription: {code_name(data.Status.value)}")
        if not more:
            self._burst.clear()
            self._burst_from.clear()
        self._declare(holes)
        if batch:
            batch.sort(key=_by_source)
            self._counts["samples"] += len(batch)
            self._sink.samples(batch, committed)
        else:
            committed()

    def refuse(self, items: Sequence[Item]) -> None:
        """Tell the sink of tags that the server does not watch: their last value must not look alive."""
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        batch = [Sample(i.tag, None, int(Quality.BAD), wall_ns, wall_ns, mono_ns) for i in items if i.state == "refused"]
        if batch:
            self._sink.samples(batch)

    def _take(self, change: Any, wall_ns: int, mono_ns: int, *, silent: bool, batch: list[Sample], holes: list[_Hole]) -> None:
        item = self._items.get(change.ClientHandle)
        if item is None:
            self._heard(change.ClientHandle, mono_ns)
            return
        if item.told and self._told(item, change.Value):
            return
        data = change.Value
        code = data.StatusCode.value if data.StatusCode is not None else 0
        source_ns = nanoseconds(data.SourceTimestamp) or nanoseconds(data.ServerTimestamp) or wall_ns
        value, flaw = value_of(data.Value, code, item.wanted.index is not None)
        if code:
            self._count(code)
        if flaw:
            self._counts["type_errors"] += 1
        if (hole := self._hole(item, source_ns, code, silent, wall_ns)) is not None:
            holes.append(hole)
        again = item.heard and source_ns == item.source_ns and code == item.code and value == item.value
        item.value, item.code, item.source_ns, item.mono_ns, item.heard = value, code, source_ns, mono_ns, True
        if again:  # servers report a value twice around an outage (node-opcua 2.182, every third freeze): nothing has happened since
            self._counts["repeated"] += 1
            return
        batch.append(Sample(item.tag, value, quality_of(code) | flaw, source_ns, wall_ns, mono_ns))

    def tell(self, read: Sequence[tuple[Item, Any]]) -> None:
        """Hand over values that were read, of items that the server has not reported in this process."""
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        batch: list[Sample] = []
        holes: list[_Hole] = []
        for item, data in read:
            change = SimpleNamespace(ClientHandle=item.handle, Value=data)
            self._take(change, wall_ns, mono_ns, silent=False, batch=batch, holes=holes)
            item.told = True
        self._burst.clear()
        self._burst_from.clear()
        self._declare(holes)
        if batch:
            self._counts["retold"] += len(batch)
            self._sink.samples(batch)

    def _told(self, item: Item, data: Any) -> bool:
        """Whether a report brings the very value that was read a moment ago."""
        item.told = False
        return bool(nanoseconds(data.SourceTimestamp) == item.source_ns)

    def _heard(self, handle: int, mono_ns: int) -> None:
        if handle == HEARTBEAT:
            self.beats += 1
            self.beat_ns = mono_ns
        else:
            self._counts["unknown_handles"] += 1

    def _count(self, code: int) -> None:
        name = code_name(code)
        self.codes[name if name in self.codes or len(self.codes) < _CODES_KEPT else "others"] += 1

    def _hole(self, item: Item, source_ns: int, code: int, silent: bool, wall_ns: int) -> _Hole | None:
        """Whether values are missing just before this one."""
        if item.hole_ns is not None:
            start_ns, why = item.hole_ns, item.hole_why
            item.hole_ns = None
            if source_ns == item.source_ns:
                return None  # the very value we had: nothing has happened since
            return (item.tag, start_ns, source_ns, why) if source_ns >= start_ns else (item.tag, source_ns, max(start_ns, wall_ns), why)
        if overflowed(code):
            self._counts["overflows"] += 1
            return (item.tag, max(item.source_ns, item.sure_ns) or source_ns, source_ns, "the server's queue overflowed")
        return self._full(item, source_ns, silent)

    def _full(self, item: Item, source_ns: int, silent: bool) -> _Hole | None:
        """A queue that came full may have run over, whether the server sets the overflow bit or not: many never do."""
        if item.queue <= 1:
            why = "the server keeps one value only, and was silent"
            return (item.tag, max(item.source_ns, item.sure_ns), source_ns, why) if silent and item.mono_ns else None
        count = self._burst[item.handle] = self._burst[item.handle] + 1
        if count == 1:
            self._burst_from[item.handle] = max(item.source_ns, item.sure_ns) or source_ns
        if count != item.queue:
            return None
        self._counts["full_queues"] += 1
        return (item.tag, self._burst_from[item.handle], source_ns, f"the server's queue of {item.queue} came full")

    def _declare(self, holes: list[_Hole]) -> None:
        """One gap for the connection where all holes have a stretch in common (an outage), else one for each tag."""
        if not holes:
            return
        start_ns, end_ns = min(h[1] for h in holes), max(h[2] for h in holes)
        if len(holes) > 1 and max(h[1] for h in holes) <= min(h[2] for h in holes):
            holes = [("", start_ns, end_ns, holes[0][3])]
        for tag, start, end, why in holes:
            self._counts["gaps"] += 1
            self._sink.gap(Gap(connector=self._connector, tag=tag or None, start_ns=start, end_ns=end, reason=why))
