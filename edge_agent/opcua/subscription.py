"""Is every message of the server's subscription delivered once, in order, and every loss noticed?

Messages carry sequence numbers 1 .. 2^32-1, 1 ..; a keep-alive carries the number of the next message (OPC 10000-4,
5.14.1). A missing number is fetched by Republish; what cannot be fetched is a lost subscription: a new one starts with
every item's current value, and the gap is declared.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from edge_agent.clock import Clock
from edge_agent.contracts import Sink
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.delivery import Delivery, SubscriptionLost
from edge_agent.opcua.memory import Place, Terms
from edge_agent.opcua.options import Options

_LAST = 0xFFFFFFFF
_NOTIFICATIONS = 1000  # in one message: decoding it holds the event loop for some 20 ms
_REPLAY = 10_000  # messages fetched after an outage at most
_PAUSE_S = 0.2  # between publish requests that the server sends back
_RETIRE = frozenset({"BadTooManyPublishRequests"})
_ENDED = frozenset({"BadNoSubscription", "BadSubscriptionIdInvalid"})
_AGAIN = frozenset({"BadTimeout", "BadRequestTimeout"})


class Subscription:
    """One subscription in the server; outlives channels."""

    def __init__(self, options: Options, delivery: Delivery, *, sink: Sink, clock: Clock, counts: Counter[str]) -> None:
        self._options, self._delivery, self._sink, self._clock, self._counts = options, delivery, sink, clock, counts
        self.id = 0
        self.publish_s = self.keep_alive_s = self.lifetime_s = 0.0  # as revised by the server
        self.spoke_ns = 0  # when the server last spoke, by our monotonic clock
        self.drained_ns = 0  # when its queues were last known to be empty: up to here nothing is missing
        self.safe_ns = 0  # the same, with all that came before committed
        self._last = 0
        self._owed: deque[int] = deque(maxlen=10_000)  # delivered, in this order
        self._committed: set[int] = set()
        self._safe: deque[int] = deque(maxlen=10_000)  # delivered and committed, without a hole between them
        self._acknowledge: deque[int] = deque(maxlen=10_000)
        self._order = asyncio.Lock()
        self._pumps = 0

    # ------------------------------------------------------------ beginning

    async def create(self, channel: Channel) -> None:
        """A new subscription on this session. PublishingInterval in ms; the counts are in publishing intervals."""
        from asyncua import ua

        options = self._options
        request = ua.CreateSubscriptionRequest()
        parameters = request.Parameters
        parameters.RequestedPublishingInterval = options.publish_s * 1000
        parameters.RequestedMaxKeepAliveCount = keep_alive = max(1, round(options.keep_alive_s / options.publish_s))
        parameters.RequestedLifetimeCount = max(3 * keep_alive, round(self._lifetime_s / options.publish_s))
        parameters.MaxNotificationsPerPublish = _NOTIFICATIONS
        parameters.PublishingEnabled = True
        result = (await channel.ask(request, ua.CreateSubscriptionResponse)).Parameters
        self.id = result.SubscriptionId
        self.publish_s = result.RevisedPublishingInterval / 1000
        self.keep_alive_s = self.publish_s * result.RevisedMaxKeepAliveCount
        self.lifetime_s = self.publish_s * result.RevisedLifetimeCount
        self.spoke_ns = self.drained_ns = self.safe_ns = self._clock.mono_ns()
        self._delivery.forget_beats()

    def recall(self, terms: Terms, place: Place) -> None:
        """Be the subscription of an earlier process."""
        self.id, self._last = terms.id, place.last
        self.drained_ns = self.safe_ns = place.drained_ns
        self.publish_s, self.keep_alive_s, self.lifetime_s = terms.publish_s, terms.keep_alive_s, terms.lifetime_s
        self.spoke_ns = self._clock.mono_ns()

    @property
    def terms(self) -> Terms:
        return Terms(id=self.id, publish_s=self.publish_s, keep_alive_s=self.keep_alive_s, lifetime_s=self.lifetime_s)

    async def delete(self, channel: Channel) -> None:
        """Have the server forget it: it would go on to report to a session that was taken up again."""
        from asyncua import ua

        request = ua.DeleteSubscriptionsRequest()
        request.Parameters.SubscriptionIds = [self.id]
        with suppress(ua.UaError):
            await channel.ask(request, ua.DeleteSubscriptionsResponse)

    async def adopt(self, channel: Channel, transfer: bool) -> list[Any]:
        """Go on with this subscription on a new channel; the messages that were sent into the void. UaError: it is gone."""
        available = await self._transfer(channel) if transfer else None
        for queue in (self._acknowledge, self._safe, self._owed, self._committed):
            queue.clear()
        messages: list[Any] = []
        following = _after(self._last)
        while len(messages) < _REPLAY and (available is None or following in available):
            message = await self._republish(channel, following)
            if message is None:
                break
            messages.append(message)
            following = _after(following)
        self.spoke_ns = self._clock.mono_ns()
        return messages

    def redeliver(self, messages: list[Any]) -> None:
        """Deliver what `adopt` fetched."""
        for message in messages:
            self._deliver(message, more=True, silent=False)

    async def _transfer(self, channel: Channel) -> list[int]:
        from asyncua import ua

        request = ua.TransferSubscriptionsRequest()
        request.Parameters.SubscriptionIds = [self.id]
        request.Parameters.SendInitialValues = False
        (result,) = (await channel.ask(request, ua.TransferSubscriptionsResponse)).Parameters.Results
        result.StatusCode.check()
        return sorted(result.AvailableSequenceNumbers or [])

    @property
    def _lifetime_s(self) -> float:
        """How long the server is to keep the subscription without us: as long as an outage, and as the session."""
        return max(self._options.outage_s * 1.25, self._options.session_s)

    # ------------------------------------------------------------ running

    async def pump(self, channel: Channel) -> None:
        """Keep one publish request in the server's hands and deliver what comes back; until cancelled or the link fails.

        Two pumps run side by side, so that the server always holds a request while an answer is on its way.
        """
        from asyncua import ua

        self._pumps += 1
        try:
            while True:
                request = ua.PublishRequest()
                request.Parameters.SubscriptionAcknowledgements = self._acks()
                try:
                    response = await channel.ask(request, ua.PublishResponse, 0)
                except ua.UaStatusCodeError as e:
                    if self._retire(e):
                        return
                    await self._clock.sleep(_PAUSE_S)
                    continue
                async with self._order:
                    await self._receive(channel, response.Parameters)
        finally:
            self._pumps -= 1

    def _retire(self, error: Any) -> bool:
        """What a refused publish request means: one pump too many, an idle time-out, or the end of the subscription."""
        name = type(error).__name__
        if name in _ENDED:
            raise SubscriptionLost(f"the server has lost the subscription: {name}") from error
        if name in _RETIRE and self._pumps > 1:
            return True
        if name in _AGAIN:
            return False
        raise error

    def _acks(self) -> list[Any]:
        from asyncua import ua

        acks: list[Any] = []
        while self._acknowledge and len(acks) < 1000:
            acks.append(ua.SubscriptionAcknowledgement(SubscriptionId=self.id, SequenceNumber=self._acknowledge.popleft()))
        return acks

    async def _receive(self, channel: Channel, result: Any) -> None:
        if result.SubscriptionId != self.id:
            self._counts["foreign_messages"] += 1
            return
        message = result.NotificationMessage
        mono_ns = self._clock.mono_ns()
        silent = mono_ns - self.drained_ns > (max(self.keep_alive_s, 2 * self.publish_s) + 1.0) * 1e9
        await self._catch_up(channel, message.SequenceNumber)
        self.spoke_ns = mono_ns
        if not result.MoreNotifications:
            self.drained_ns = mono_ns
        self._counts["publishes"] += 1
        if not message.NotificationData:
            self._counts["keep_alives"] += 1
        elif message.SequenceNumber == _after(self._last):
            self._deliver(message, more=bool(result.MoreNotifications), silent=silent)
        else:
            self._counts["duplicates"] += 1
        self._sink.alive(self._options.connector, mono_ns)

    async def _catch_up(self, channel: Channel, sequence: int) -> None:
        """Fetch the messages between the last one and this one."""
        while (following := _after(self._last)) != sequence and _ahead(sequence, following):
            self._counts["sequence_breaks"] += 1
            missing = await self._republish(channel, following)
            if missing is None:
                raise SubscriptionLost(f"message {following} of the subscription is lost")
            self._deliver(missing, more=True, silent=False)

    async def _republish(self, channel: Channel, sequence: int) -> Any:
        """One message again; None: the server has it no more (or never had)."""
        from asyncua import ua

        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = self.id
        request.Parameters.RetransmitSequenceNumber = sequence
        try:
            message = (await channel.ask(request, ua.RepublishResponse)).NotificationMessage
        except ua.uaerrors.BadMessageNotAvailable:
            return None
        if message.SequenceNumber != sequence:
            return None
        self._counts["republished"] += 1
        return message

    def _deliver(self, message: Any, *, more: bool, silent: bool) -> None:
        sequence = message.SequenceNumber
        self._last = sequence
        if len(self._owed) == self._owed.maxlen:
            self._committed.discard(self._owed[0])
        self._owed.append(sequence)
        self._delivery.deliver(message, more=more, silent=silent, committed=lambda: self._committed.add(sequence))

    def safe(self) -> int | None:
        """The last message up to which all have been committed; None: none since the last time."""
        while self._owed and self._owed[0] in self._committed:
            self._committed.discard(self._owed[0])
            self._safe.append(self._owed.popleft())
        if not self._owed:
            self.safe_ns = self.drained_ns
        return self._safe[-1] if self._safe else None

    def acknowledge(self, last: int) -> None:
        """Let the server forget the messages up to this one: our memory of them is on disk."""
        while self._safe:
            sequence = self._safe.popleft()
            self._acknowledge.append(sequence)
            if sequence == last:
                return

    def status(self) -> Mapping[str, Any]:
        """What was asked, what the server made of it."""
        options = self._options
        return {
            "id": self.id,
            "publish_s": {"asked": options.publish_s, "revised": self.publish_s},
            "keep_alive_s": {"asked": options.keep_alive_s, "revised": self.keep_alive_s},
            "lifetime_s": {"asked": self._lifetime_s, "revised": self.lifetime_s},
            "unacknowledged_max": self._acknowledge.maxlen,
        }


def _after(sequence: int) -> int:
    return 1 if sequence >= _LAST else sequence + 1


def _ahead(sequence: int, other: int) -> bool:
    """Whether a number lies after another, with wrap-around."""
    return 0 < (sequence - other) % _LAST < _LAST // 2
