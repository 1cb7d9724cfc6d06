"""One connection's life: connect, take up again what can be, deliver, notice the end, wait, try again; never give up.

What is tried after a loss, in this order: the old session on a new channel; its subscription transferred to a new
session; a new subscription and a declared gap.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

from edge_agent.clock import Clock
from edge_agent.contracts import Sink
from edge_agent.errors import PlantError
from edge_agent.messages import LinkState
from edge_agent.opcua import channel as channels
from edge_agent.opcua import nodes, server, trouble, watch
from edge_agent.opcua.agree import refuse_other_units
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.delivery import Delivery, SubscriptionLost
from edge_agent.opcua.entry import Entry
from edge_agent.opcua.items import Item, Items, watch_heartbeat
from edge_agent.opcua.memory import ATTACHED_EVERY_S, FIRST_VALUES_S, PLACE_EVERY_S, Memory, shifted
from edge_agent.opcua.options import Options, Wanted
from edge_agent.opcua.retell import retell
from edge_agent.opcua.server import Server
from edge_agent.opcua.subscription import Subscription

_log = logging.getLogger(__name__)

_FIRST_BACKOFF_S = 0.25
_UNREACHED_S = 1.0  # longest wait for a server that is not there: its data shall flow within 2 s of its return
_CROWDED_S = 5.0  # shortest wait after BadTooManySessions
_STEADY_S = 30.0  # a link that held this long starts again with the shortest wait
_PUMPS = 2
_TAGS_SHOWN = 200
_STUMBLES = 2  # time-outs while taking up a subscription, after which it is let go


class Link:
    """Owns the channel, the session and the subscription."""

    def __init__(self, options: Options, wanted: Sequence[Wanted], *, clock: Clock, sink: Sink) -> None:
        self.options, self.clock, self._sink = options, clock, sink
        self.counts: Counter[str] = Counter()
        self.channel: Channel | None = None  # while the link is up
        self.server: Server | None = None  # as of the present or last session
        self._items = Items(wanted, options.outage_s)
        self._moving = [w.tag for w in wanted if w.node and nodes.parse(w.node).moves]
        self._delivery = Delivery(options.connector, self._items, sink=sink, clock=clock, counts=self.counts)
        self._subscription: Subscription | None = None
        self._entry = Entry(options, clock)
        self._adopted = False  # the subscription was taken over from an earlier channel
        self._adoptable = False
        self._stumbles = 0
        self._state, self._reason, self._since_ns = "connecting", "starting", clock.mono_ns()
        self._memory = Memory(options, wanted, clock)
        self._recalled = False  # the subscription is one of an earlier process
        self._changing = asyncio.Lock()  # subscription changes, one at a time
        self._random = random.Random()  # noqa: S311  spreads reconnects of many agents; no secret

    # ------------------------------------------------------------ the life

    async def run(self) -> None:
        """Until cancelled. Whatever goes wrong is counted, reported once and tried again."""
        channels.hush()
        await asyncio.to_thread(self._recall)
        self._say("connecting", "starting")
        backoff_s = _FIRST_BACKOFF_S
        while True:
            began_ns = self.clock.mono_ns()
            try:
                await self._live()
            except Exception as e:  # noqa: BLE001  one connector's task: whatever it is, the link is down and is tried again
                failure = trouble.first(e)
            else:
                failure = ConnectionError("the server ended the session")
            _heed_cancellation()
            if self.clock.mono_ns() - began_ns > _STEADY_S * 1e9:
                backoff_s = _FIRST_BACKOFF_S
            self._lost(failure)
            await self.clock.sleep(_pause_s(failure, backoff_s) * self._random.uniform(0.5, 1.0))
            longest_s = _UNREACHED_S if _unreached(failure) else self.options.max_backoff_s
            backoff_s = min(backoff_s * 2, longest_s)

    async def _live(self) -> None:
        """One channel, from its opening to its end."""
        self.counts["attempts"] += 1
        channel = await self._entry.enter()
        orderly = True  # leave with CloseSession, unless the session is to be taken up again
        try:
            await self._attach_or_stumble(channel)
            _heed_cancellation()
            self.channel = channel
            await self._work(channel)
        except Exception as e:
            orderly = not isinstance(trouble.first(e), OSError | TimeoutError)
            if orderly:
                self._entry.forget()
            raise
        finally:
            self.channel = None
            if orderly:
                await channel.close()
                self._memory.leave()
            channel.abort()

    async def _work(self, channel: Channel) -> None:
        """Deliver until something fails."""
        subscription, known = self._subscription, self.server
        if subscription is None or known is None:
            raise PlantError("no subscription")
        audit = watch.Audit(self._items, subscription, every_s=self.options.audit_s, clock=self.clock, counts=self.counts)
        subscription.spoke_ns = self.clock.mono_ns()  # asking for thousands of items took its time
        async with asyncio.TaskGroup() as group:
            for _ in range(_PUMPS):
                group.create_task(subscription.pump(channel))
            group.create_task(channel.keep_channel(self.clock.sleep))
            group.create_task(watch.stall(subscription, self._delivery, self.clock))
            group.create_task(audit.run(channel, known.per_read))
            group.create_task(watch.retry(self._items, lambda due: self._retry(channel, due), self.clock))
            group.create_task(self._remember(subscription, known))
            if self._recalled:
                self._recalled = False
                group.create_task(retell(channel, self._items, subscription, self._delivery, batch=known.per_read, clock=self.clock))
            await asyncio.Event().wait()  # for ever: waiting here, not in the group's end, keeps the count of cancellations right

    # ------------------------------------------------------------ subscribing

    async def _attach_or_stumble(self, channel: Channel) -> None:
        try:
            await self._attach(channel)
        except TimeoutError:
            self._stumbles += 1  # a server that lets us in and then does not answer: after some times it is begun anew
            if self._stumbles >= _STUMBLES:
                self._stumbles, self._adoptable = 0, False
                self._entry.forget()
            raise
        self._stumbles = 0

    async def _attach(self, channel: Channel) -> None:
        """Adopt the old subscription where that is possible, else make a new one. Declares the link up."""
        known = await server.ask(channel)
        restarted = self.server is not None and known.started_ns != self.server.started_ns
        self.server = known
        if restarted:
            self.counts["server_restarts"] += 1
        async with self._changing:
            if restarted or not await self._adopt(channel):
                await self._subscribe(channel, known, "the server was restarted" if restarted else "the subscription was lost")

    async def _adopt(self, channel: Channel) -> bool:
        from asyncua import ua

        subscription = self._subscription
        if subscription is None or not self._adoptable:
            return False
        transfer = not self._entry.resumed
        try:
            messages = await subscription.adopt(channel, transfer)
        except ua.UaError:
            self._recalled = False
            return False
        self._adopted = True
        self.counts["adopted"] += 1
        self._up(f"{self._entry.how}, subscription {'transferred' if transfer else 'kept'}, {len(messages)} messages fetched")
        subscription.redeliver(messages)
        if self._recalled:
            self._delivery.refuse(list(self._items))
        return True

    async def _subscribe(self, channel: Channel, known: Server, why: str) -> None:
        """A new subscription with all items. What went missing before it is a gap, ended by each item's first value."""
        old = self._subscription
        if old is not None:
            self._items.open_holes(old.drained_ns, old.publish_s, why)
            if self._entry.resumed:
                await old.delete(channel)
        self._recalled = False
        self._subscription = None
        self._items.forget()
        subscription = Subscription(self.options, self._delivery, sink=self._sink, clock=self.clock, counts=self.counts)
        await subscription.create(channel)
        self.counts["subscriptions"] += 1
        await watch_heartbeat(channel, subscription.id, watch.beat_every_s(subscription))
        await self._ask(channel, subscription, list(self._items), known)
        self._subscription, self._adopted, self._adoptable = subscription, False, True
        self._up(f"{self._entry.how}, new subscription")
        self._delivery.refuse(list(self._items))

    async def _ask(self, channel: Channel, subscription: Subscription, items: Sequence[Item], known: Server) -> None:
        now = self.clock.mono_ns()
        agree = partial(refuse_other_units, channel, per_read=known.per_read, mono_ns=now)
        await self._items.ask(channel, subscription.id, items, names=known.namespaces, batch=known.per_monitor, mono_ns=now, agree=agree)

    async def _retry(self, channel: Channel, due: Sequence[Item]) -> None:
        """Refused nodes once more; a PLC may have got its program, and with it a namespace, in the meantime."""
        self.server = known = await server.ask(channel)
        async with self._changing:
            if self._subscription is not None:
                await self._ask(channel, self._subscription, due, known)

    # ------------------------------------------------------------ our own restart

    def _recall(self) -> None:
        """Be as attached as the last process was, if it left anything behind."""
        found = self._memory.recall()
        if found is None:
            return
        self.server, terms, place = found.server, found.terms, shifted(found.place, self.clock)
        then_ns, now_ns = found.place.drained_ns, place.drained_ns
        whole = self._items.recall(found.items, names=self.server.namespaces, then_ns=then_ns, now_ns=now_ns, publish_s=terms.publish_s)
        self._subscription = Subscription(self.options, self._delivery, sink=self._sink, clock=self.clock, counts=self.counts)
        self._subscription.recall(terms, place)
        if found.session is not None:
            self._entry.take(found.session)
            self._recalled = self._adoptable = whole

    async def _remember(self, subscription: Subscription, known: Server) -> None:
        """Keep on disk what another process needs to go on here, and only then acknowledge; until cancelled."""
        attach_ns = 0  # when to write next: at once, soon with the first values, then now and then
        for turn in count():
            session, now_ns = self._entry.session, self.clock.mono_ns()
            last, drained_ns = subscription.safe(), subscription.safe_ns
            try:
                if session is not None and now_ns >= attach_ns:
                    attach_ns = now_ns + int((ATTACHED_EVERY_S if turn else FIRST_VALUES_S) * 1e9)
                    await asyncio.to_thread(self._memory.attach, session, known, subscription.terms, drained_ns, self._items.memory())
                if last is not None:
                    await asyncio.to_thread(self._memory.place, subscription.terms, last, drained_ns)
            except OSError:
                self.counts["not_remembered"] += 1  # the disk is in trouble: a restart will cost a declared gap
            if last is not None:
                subscription.acknowledge(last)
            await self.clock.sleep(PLACE_EVERY_S)

    # ------------------------------------------------------------ telling

    def _up(self, reason: str) -> None:
        if self._state != "up":
            _log.info("%s: connected to %s (%s)", self.options.connector, self.options.url, reason)
            self._say("up", reason)

    def _lost(self, error: BaseException) -> None:
        reason = trouble.words(error)
        if isinstance(error, SubscriptionLost) or (self._adopted and isinstance(error, watch.Stalled)):
            self._adoptable = False  # gone, or taken over and dumb ever since: the next one is a new one
        if self._state == "up":
            self.counts["losses"] += 1
        if (self._state, self._reason) == ("down", reason):
            return
        if self._state != "down":
            _log.warning("%s: no link to %s: %s; trying again for ever", self.options.connector, self.options.url, reason)
        self._say("down", reason)

    def _say(self, state: Any, reason: str) -> None:
        now = self.clock.mono_ns()
        if state != self._state:
            self._since_ns = now
        self._state, self._reason = state, reason
        self._sink.link(LinkState(connector=self.options.connector, state=state, reason=reason, mono_ns=now))

    def status(self) -> Mapping[str, Any]:
        """For `edge-agent status`. JSON-able, and without secrets."""
        items, known, subscription = list(self._items), self.server, self._subscription
        troubled = [(i.tag, i.trouble or i.note or i.state) for i in items if i.state != "good" or i.note]
        return {
            "link": self._state,
            "reason": self._reason,
            "for_s": round((self.clock.mono_ns() - self._since_ns) / 1e9, 1),
            "url": self.options.url,
            "security": str(self.options.security),
            "session_timeout_s": {"asked": self.options.session_s, "revised": self._entry.session_s},
            "server": {"running": known.running, "per_read": known.per_read, "per_monitor": known.per_monitor} if known else {},
            "subscription": dict(subscription.status()) if subscription else {},
            "items": dict(Counter(i.state for i in items)),
            "queue_max": max((i.queue for i in items), default=0),
            "counts": dict(self.counts),
            "codes": dict(self._delivery.codes),
            "tags": dict(troubled[:_TAGS_SHOWN]),
            "tags_not_shown": max(0, len(troubled) - _TAGS_SHOWN),
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[str]:
        found = []
        if self._moving:
            found.append(f"addressed by a namespace index, which may move: {', '.join(self._moving[:20])}; write nsu=URI instead")
        if self.server is not None and not self.server.running:
            found.append("the server says that it is not running")
        if self._entry.session_s and self._entry.session_s < self.options.session_s * 0.9:
            found.append(f"the server ends an idle session after {self._entry.session_s:g} s; longer outages cost a new session")
        return found


def _unreached(failure: BaseException) -> bool:
    """It is the network, or nobody is there; not a server that says no, and must not be asked by the second."""
    return isinstance(failure, OSError | TimeoutError | SubscriptionLost)


def _pause_s(failure: BaseException, backoff_s: float) -> float:
    if type(failure).__name__ == "BadTooManySessions":
        return max(backoff_s, 2 * _CROWDED_S)
    return min(backoff_s, _UNREACHED_S) if _unreached(failure) else backoff_s


def _heed_cancellation() -> None:
    """A TaskGroup drops a cancellation that arrives together with a failure, wait_for (before 3.12) one that arrives with a result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
