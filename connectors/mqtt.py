"""What does an MQTT broker say, and how are commands sent through it? MQTT 3.1.1 and 5, TLS, QoS 1 acknowledged after commit."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.contracts import Reply, Setup, Sink, TagContract
from edge_agent.errors import PlantError
from edge_agent.messages import Gap, LinkState, Reading, Sample, Scalar
from edge_agent.mqtt.address import MqttTag, Publish
from edge_agent.mqtt.calls import Calls
from edge_agent.mqtt.commands import Numbers, call_payload, payload
from edge_agent.mqtt.holes import Moment, common, hole
from edge_agent.mqtt.settings import Broker

if TYPE_CHECKING:
    from edge_agent.mqtt.frames import Message
    from edge_agent.mqtt.outgoing import Limits
    from edge_agent.mqtt.session import Session

log = logging.getLogger(__name__)

_STOP_S = 6.0  # a connect that hangs is left behind after this


class Config(Broker):
    """An MQTT broker."""

    type: Literal["mqtt"]


Tag = MqttTag


class Connector:
    """One broker. The connection has a thread of its own; batches go to the sink from there."""

    def __init__(self, config: Config, tags: Mapping[str, MqttTag], setup: Setup) -> None:
        self._config, self._tags, self._setup = config, tags, setup
        self._client_id = config.client_id or f"{setup.agent}-{setup.name}"
        self._numbers = Numbers(setup.state / "sequence", setup.clock)
        self._calls = Calls()
        self._called = frozenset(name for name, tag in tags.items() if tag.publish is not None and tag.publish.arguments is not None)
        self._session: Session | None = None
        self._sink: Sink | None = None
        self._routes: Any = None
        self._topics: dict[str, int] = {}
        for tag in tags.values():
            if tag.topic:
                self._topics[tag.topic] = max(tag.qos, self._topics.get(tag.topic, 0))
        self._said: Literal["", "connecting", "up", "down"] = ""
        self._heard: Moment | None = None  # when the link last brought anything
        self._missed: tuple[Moment, dict[str, Sample | None]] | None = None  # when the link was lost, and each tag's last value then
        self._up_ns = 0
        self._defects = 0

    # ---- Connector

    async def run(self, sink: Sink) -> None:
        """Until cancelled. A defect of our own in the thread is raised, for the supervisor to count and start anew."""
        from edge_agent.mqtt.routes import Routes
        from edge_agent.mqtt.session import Session

        clock, state = self._setup.clock, self._setup.state
        self._sink, self._routes = sink, Routes(self._tags, self._news)
        broker = self._config.at_home(self._setup.home)
        loop = asyncio.get_running_loop()
        self._session = session = Session(broker, self._client_id, self._topics, listener=self, clock=clock, state=state, loop=loop)
        self._tell("connecting", self._config.url)
        ended: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=_guarded, args=(session.run, loop, ended), name=f"mqtt-{self._setup.name}", daemon=True)
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            session.stop()
            await asyncio.to_thread(thread.join, _STOP_S)
            self._session = None

    def status(self) -> Mapping[str, Any]:
        session = self._session
        if session is None:
            return {"link": "down", "reason": "not running"}
        now = self._setup.clock.mono_ns()
        tags = {name: self._tag_status(name, tag, session, now) for name, tag in self._tags.items() if tag.topic}
        return {**session.status(), "client_id": self._client_id, "unrouted": self._routes.unrouted, "defects": self._defects, "tags": tags}

    def _tag_status(self, name: str, tag: MqttTag, session: Session, now_ns: int) -> dict[str, Any]:
        state = self._routes.states[name]
        granted = session.granted.get(tag.topic or "", "not asked")
        word = granted if granted != "granted" else "ok" if state.ok else state.trouble
        since_ns = max(state.last_mono_ns, self._up_ns)
        silent_s = round((now_ns - since_ns) / 1e9, 1) if since_ns else None
        if granted == "granted" and not state.count:
            word = "granted, but silent: wrong topic, or the broker's access list"
        return {"state": word, "messages": state.count, "silent_s": silent_s, "bad": dict(state.bad)}

    # ---- Writable

    async def describe(self, tag: str) -> TagContract:
        """MQTT says nothing of units and ranges; that commands can be sent is all there is to ask."""
        publish = self._tags[tag].publish
        session = self._session
        if session is None or session.limits is None:
            raise PlantError(f"{tag}: {self._config.url}: no link ({session.reason if session else 'not running'})")
        return TagContract(type="method" if tag in self._called else "mqtt", writable=publish is not None)

    async def read(self, tag: str) -> Reading:
        """The last value the plant itself published on the tag's own topic."""
        state = self._routes.states[tag] if self._routes is not None else None
        if self._tags[tag].topic is None:
            raise PlantError(f"{tag}: cannot be read back; give it a `topic:` on which the plant says what it has taken")
        if self._session is None or self._session.limits is None:
            raise PlantError(f"{tag}: no link to {self._config.url}")
        sample: Sample | None = state.sample if state is not None else None
        if sample is None:
            raise PlantError(f"{tag}: nothing was received on {self._tags[tag].topic} yet")
        age_s = (self._setup.clock.mono_ns() - sample.mono_ns) / 1e9
        return Reading(sample.value, sample.quality, sample.source_ns, age_s)

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        """Good: the broker has it. Whether the plant took it, only the read-back says."""
        publish = self._tags[tag].publish
        if publish is None or publish.arguments is not None:
            return self._reply("refused", f"{tag} {'is called, not set' if publish else 'has no `publish:`'}")
        try:
            data = payload(value, publish, seq=self._numbers, clock=self._setup.clock, by=self._setup.agent)
        except (PlantError, ValueError) as e:
            return self._reply("refused", str(e))
        return await self._send(publish, data, timeout_s)

    async def call(self, tag: str, arguments: Sequence[Scalar], timeout_s: float) -> Reply:
        """Good: the plant itself said that it took this call. Its broker having it is not enough."""
        publish, loop = self._tags[tag].publish, asyncio.get_running_loop()
        if publish is None or publish.arguments is None:
            return self._reply("refused", f"{tag} has no `publish: {{arguments: ...}}`; write it instead")
        try:
            data = call_payload(arguments, publish, seq=self._numbers, clock=self._setup.clock)
        except (PlantError, ValueError) as e:
            return self._reply("refused", str(e))
        taken: asyncio.Future[bool] = loop.create_future()
        if not self._calls.begin(tag, arguments[0], lambda good: _settle(loop, taken, good)):
            return self._reply("refused", f"a call of {arguments[0]!r} is under way, or too many are")
        try:
            async with asyncio.timeout(timeout_s):
                sent = await self._send(publish, data, timeout_s)
                if sent.status == "refused":
                    return sent
                return self._reply("good", "Good") if await taken else self._reply("refused", "the plant refused it")
        except TimeoutError:
            return self._reply("unknown", f"no answer from the plant within {timeout_s:g} s")
        finally:
            self._calls.end(tag, arguments[0])

    async def _send(self, publish: Publish, data: bytes, timeout_s: float) -> Reply:
        """Once, at QoS 1; good: the broker has it."""
        session, loop = self._session, asyncio.get_running_loop()
        if session is None:
            return self._reply("refused", "not running")
        answer: asyncio.Future[tuple[Literal["good", "refused", "unknown"], str]] = loop.create_future()

        def done(status: Literal["good", "refused", "unknown"], code: str) -> None:
            _settle(loop, answer, (status, code))

        session.publish(publish.topic, data, expiry_s=publish.expiry, within_s=timeout_s, done=done)
        try:
            async with asyncio.timeout(timeout_s):
                return self._reply(*await answer)
        except TimeoutError:
            return self._reply("unknown", f"no PUBACK from the broker within {timeout_s:g} s")

    def _reply(self, status: Literal["good", "refused", "unknown"], code: str) -> Reply:
        return Reply(status=status, code=code, at_mono_ns=self._setup.clock.mono_ns())

    # ---- Listener, on the connection's thread

    def received(self, messages: Sequence[Message], committed: Callable[[], None] | None, wall_ns: int, mono_ns: int) -> None:
        try:
            samples = self._routes.samples(messages, wall_ns, mono_ns)
        except Exception:
            # a defect in decoding, counted and said once: the broker must not send the same message again for ever
            if not self._defects:
                log.exception("%s: messages could not be decoded; this is a defect, please report it", self._setup.name)
            self._defects += len(messages)
            samples = []
        self._heard = Moment(wall_ns, mono_ns)
        for sample in samples if self._called else ():
            if sample.tag in self._called:
                self._calls.heard(sample)
        if samples and self._sink is not None:
            self._sink.samples(samples, committed)
        elif committed is not None:
            committed()

    def up(self, limits: Limits) -> None:
        self._up_ns = self._setup.clock.mono_ns()
        self._tell("up", f"MQTT {limits.version}" + (", session resumed" if limits.session_present else ", new session"))
        if limits.session_present:
            self._declare("the link was down", kept=True)

    def subscribed(self, *, kept: bool) -> None:
        if not kept:  # until here the broker had no reason to send us anything
            self._declare("the broker kept no session", kept=False)

    def down(self, reason: str) -> None:
        if self._missed is None and self._heard is not None:
            lasts = {name: self._routes.states[name].sample for name, tag in self._tags.items() if tag.topic}
            self._missed = (self._heard, lasts)
        self._tell("down", reason)

    def _declare(self, reason: str, *, kept: bool) -> None:
        """What may be missing since the link was lost: of a session that was kept, what has QoS 0."""
        clock, missed, self._missed = self._setup.clock, self._missed, None
        self._heard = now = Moment(clock.wall_ns(), clock.mono_ns())
        if missed is None or self._sink is None:
            return
        heard, lasts = missed
        fleeting = [name for name in lasts if self._topics[str(self._tags[name].topic)] == 0]
        spans = {name: hole(lasts[name], heard, now) for name in fleeting} if kept else {None: common(lasts, heard, now)}
        for tag, (start_ns, end_ns) in spans.items():
            self._sink.gap(Gap(connector=self._setup.name, tag=tag, start_ns=start_ns, end_ns=end_ns, reason=reason))

    # ---- words

    def _tell(self, state: Literal["connecting", "up", "down"], reason: str) -> None:
        """A change once; the newest reason is in the status."""
        if state == self._said:
            return
        self._said = state
        log.log(logging.WARNING if state == "down" and reason != "stopped" else logging.INFO, "%s: %s: %s", self._setup.name, state, reason)
        if self._sink is not None:
            self._sink.link(LinkState(connector=self._setup.name, state=state, reason=reason, mono_ns=self._setup.clock.mono_ns()))

    def _news(self, tag: str, text: str) -> None:
        log.warning("%s: %s: %s", self._setup.name, tag, text)


def _guarded(work: Callable[[], None], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    """Run the thread's work; its end, good or bad, ends `run`."""
    try:
        work()
    except Exception as e:  # noqa: BLE001 the thread's last breath: carried over to `run`, which raises it
        _settle(loop, ended, error=e)
    else:
        _settle(loop, ended, None)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: object = None, error: Exception | None = None) -> None:
    """Set a future from another thread, unless it is settled or nobody waits any more."""

    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(settle)
