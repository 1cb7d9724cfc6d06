"""What does the server watch for us, node by node, and what did it say last? A bad node never blocks a good one."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.errors import PlantError
from edge_agent.messages import Value
from edge_agent.opcua import nodes
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.options import Wanted
from edge_agent.opcua.values import code_name

HEARTBEAT = 0
"""Client handle of ServerStatus.CurrentTime; the tags' handles start at 1."""
_MAX_QUEUE = 10_000
_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 300.0
_REMEMBERED = ("state", "trouble", "note", "filtered", "sampling_s", "queue", "source_ns", "mono_ns")
_VALUE = 13  # attribute number: OPC 10000-6, A.1
_CURRENT_TIME = "i=2258"  # ServerStatus.CurrentTime: OPC 10000-5, 6.3.2
_FILTER_REFUSED = frozenset(
    {"BadMonitoredItemFilterUnsupported", "BadMonitoredItemFilterInvalid", "BadFilterNotAllowed", "BadDeadbandFilterInvalid"}
)


@dataclass(slots=True, kw_only=True)
class Item:
    """One watched node. Times in ns; `source_ns` by the device's clock, `mono_ns` by ours."""

    wanted: Wanted
    handle: int
    state: Literal["waiting", "good", "refused"] = "waiting"
    trouble: str = ""  # why it is refused, for the technician
    note: str = ""  # what the server does otherwise than asked
    filtered: bool = True  # ask for the dead band; False after the server refused it
    retry_ns: int = 0
    retry_s: float = _FIRST_RETRY_S
    node: Any = None  # resolved in this session
    sampling_s: float = 0.0  # as revised by the server
    queue: int = 0  # as revised by the server
    value: Value = None
    code: int = 0
    source_ns: int = 0
    mono_ns: int = 0  # 0: never seen
    hole_ns: int | None = None  # a hole began here; the next value ends it
    hole_why: str = ""
    sure_ns: int = 0  # up to here, by the device's clock, nothing is missing: known after our own restart
    heard: bool = False  # in this process
    told: bool = False  # its value was read, not reported: the report may yet come

    @property
    def tag(self) -> str:
        return self.wanted.tag


def queue_size(sampling_s: float, outage_s: float) -> int:
    """Room for what is sampled in an outage, with a quarter to spare. Sampling 0 (every change) counts as 50 ms."""
    return min(_MAX_QUEUE, max(10, math.ceil(outage_s / max(sampling_s, 0.05) * 1.25)))


Agree = Callable[[Sequence[Item]], Awaitable[list[Item]]]


class Items:
    """All tags of one connection that have a node."""

    def __init__(self, wanted: Sequence[Wanted], outage_s: float) -> None:
        self._outage_s = outage_s
        self._items = {h: Item(wanted=w, handle=h) for h, w in enumerate((w for w in wanted if w.node is not None), start=1)}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def get(self, handle: int) -> Item | None:
        return self._items.get(handle)

    def good(self) -> list[Item]:
        return [i for i in self if i.state == "good"]

    def due(self, mono_ns: int) -> list[Item]:
        """Refused items whose time to be tried again has come."""
        return [i for i in self if i.state != "good" and i.retry_ns <= mono_ns]

    def forget(self) -> None:
        """The subscription is gone: everything has to be asked for again."""
        for item in self:
            item.state, item.filtered, item.retry_ns, item.retry_s = "waiting", True, 0, _FIRST_RETRY_S

    def memory(self) -> dict[str, dict[str, Any]]:
        """What another process needs to go on with these items. JSON-able."""
        return {i.tag: {name: getattr(i, name) for name in ("handle", *_REMEMBERED)} | {"node": i.wanted.node} for i in self}

    def recall(self, said: Mapping[str, Mapping[str, Any]], *, names: Sequence[str], then_ns: int, now_ns: int, publish_s: float) -> bool:
        """Take up what an earlier process knew. `then_ns`: its clock when the server's queues were last empty, `now_ns` the same
        moment by ours. False: not all of it is of use, and the subscription cannot be gone on with."""
        whole = True
        for item in self:
            old = said.get(item.tag)
            if old is None or old["node"] != item.wanted.node or old["handle"] != item.handle:
                whole = False
                continue
            for name in _REMEMBERED:
                setattr(item, name, old[name])
            whole = _resolve(item, names, now_ns) and whole
            if item.mono_ns:
                item.sure_ns = _sure(item, then_ns, publish_s)
                item.mono_ns += now_ns - then_ns
            item.retry_ns, item.retry_s = 0, _FIRST_RETRY_S
        return whole

    def open_holes(self, drained_mono_ns: int, publish_s: float, why: str) -> None:
        """From here values may be missing, for every tag seen before, until its next value.

        While the server's queues were known to be empty nothing was missing: that moment in the device's own clock is
        the last value's source time plus what has passed by our clock since, less a margin for sampling and delivery.
        """
        for item in self:
            if item.mono_ns and item.hole_ns is None:
                item.hole_ns = max(_sure(item, drained_mono_ns, publish_s), item.sure_ns)
                item.hole_why = why

    async def ask(
        self, channel: Channel, subscription: int, items: Sequence[Item], *, names: Sequence[str], batch: int, mono_ns: int, agree: Agree
    ) -> None:
        """Have the server watch these items, a batch a call. Each ends up good or refused with its reason. `agree` refuses those
        that do not mean what the configuration says, and gives back the others."""
        known = await agree([i for i in items if _resolve(i, names, mono_ns)])
        for start in range(0, len(known), batch):
            part = known[start : start + batch]
            results = await _create(channel, subscription, [self._request(i) for i in part])
            again = [i for i, r in zip(part, results, strict=True) if not self._settle(i, r, mono_ns)]
            if again:
                results = await _create(channel, subscription, [self._request(i) for i in again])
                for item, result in zip(again, results, strict=True):
                    self._settle(item, result, mono_ns)

    def _request(self, item: Item) -> Any:
        from asyncua import ua

        wanted = item.wanted
        request = watch(item.node, item.handle, wanted.sampling_s, queue_size(wanted.sampling_s, self._outage_s))
        if wanted.index is not None:
            request.ItemToMonitor.IndexRange = str(wanted.index)
        if wanted.dead_band is not None and item.filtered:
            change = ua.DataChangeFilter()
            change.Trigger = ua.DataChangeTrigger.StatusValue
            change.DeadbandType = ua.DeadbandType.Percent if wanted.dead_band.kind == "percent" else ua.DeadbandType.Absolute
            change.DeadbandValue = wanted.dead_band.value
            request.RequestedParameters.Filter = change
        return request

    def _settle(self, item: Item, result: Any, mono_ns: int) -> bool:
        """Note what the server made of an item. False: ask once more, without the dead band."""
        code = code_name(result.StatusCode.value)
        if result.StatusCode.is_good():
            item.state, item.trouble, item.retry_s = "good", "", _FIRST_RETRY_S
            item.sampling_s, item.queue = result.RevisedSamplingInterval / 1000, result.RevisedQueueSize
            item.note = self._note(item)
            return True
        if item.wanted.dead_band is not None and item.filtered and code in _FILTER_REFUSED:
            item.filtered = False
            return False
        refuse(item, f"{item.wanted.node}: {code}", mono_ns)
        return True

    def _note(self, item: Item) -> str:
        """Where the server does otherwise than asked."""
        wanted, notes = item.wanted, []
        if wanted.dead_band is not None and not item.filtered:
            notes.append("the server refuses the dead band; it reports every change")
        if item.sampling_s > wanted.sampling_s * 1.5 + 0.001:
            notes.append(f"sampled every {item.sampling_s:g} s instead of {wanted.sampling_s:g} s")
        if item.queue < queue_size(wanted.sampling_s, self._outage_s):
            notes.append(f"queue of {item.queue}: an outage above {item.queue * max(item.sampling_s, 0.05):.3g} s loses values")
        return "; ".join(notes)


def _sure(item: Item, drained_mono_ns: int, publish_s: float) -> int:
    """Up to when, by the device's clock, all of an item's values are here."""
    margin_ns = int((publish_s + item.sampling_s + 1.0) * 1e9)
    return item.source_ns + max(0, drained_mono_ns - item.mono_ns - margin_ns)


def watch(node: Any, handle: int, sampling_s: float, queue: int) -> Any:
    """A request to watch a node's value."""
    from asyncua import ua

    request = ua.MonitoredItemCreateRequest()
    request.ItemToMonitor.NodeId, request.ItemToMonitor.AttributeId = node, ua.AttributeIds(_VALUE)
    request.MonitoringMode = ua.MonitoringMode.Reporting
    parameters = ua.MonitoringParameters(ClientHandle=handle, SamplingInterval=sampling_s * 1000, QueueSize=queue, DiscardOldest=True)
    request.RequestedParameters = parameters
    return request


async def watch_heartbeat(channel: Channel, subscription: int, every_s: float) -> bool:
    """Have the server's own clock reported; False if the server does not."""
    from asyncua import ua

    request = watch(ua.NodeId.from_string(_CURRENT_TIME), HEARTBEAT, every_s, 2)
    (result,) = await _create(channel, subscription, [request])
    return bool(result.StatusCode.is_good())


def refuse(item: Item, why: str, mono_ns: int) -> None:
    """Set an item aside, to be tried again later, each time a little later."""
    item.state, item.trouble = "refused", why
    item.retry_ns = mono_ns + int(item.retry_s * 1e9)
    item.retry_s = min(item.retry_s * 2, _LAST_RETRY_S)


def _resolve(item: Item, names: Sequence[str], mono_ns: int) -> bool:
    try:
        item.node = nodes.resolve(item.wanted.node or "", names)
    except PlantError as e:
        refuse(item, str(e), mono_ns)
        return False
    return True


async def _create(channel: Channel, subscription: int, requests: list[Any]) -> list[Any]:
    from asyncua import ua

    request = ua.CreateMonitoredItemsRequest()
    request.Parameters.SubscriptionId = subscription
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.ItemsToCreate = requests
    results: list[Any] = (await channel.ask(request, ua.CreateMonitoredItemsResponse)).Results
    return results
