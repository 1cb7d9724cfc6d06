"""Who keeps the connection alive? One thread a broker: connects, subscribes, reconnects with back-off, for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from edge_agent.clock import Clock
from edge_agent.mqtt.client import Version
from edge_agent.mqtt.drive import Drive
from edge_agent.mqtt.frames import Message
from edge_agent.mqtt.link import Link, LinkLost, OldBroker, Refused
from edge_agent.mqtt.outgoing import Done, Limits
from edge_agent.mqtt.settings import Broker
from edge_agent.mqtt.wire import fits

log = logging.getLogger(__name__)

_STABLE_NS = 30_000_000_000  # a link that lived this long was a good one: the back-off starts anew
_TURN_S = 0.5
_SILENT_V5 = 3  # attempts without an answer before 3.1.1 is tried
_THROWN_OUT = 3  # ends within a minute, each soon after a good start, that look like a fight for the client id
_MINUTE_NS = 60_000_000_000
_ASK_AGAIN_NS = 60_000_000_000  # refused topics: access lists get mended


class Listener(Protocol):
    """Who is told, on the session's thread."""

    def received(self, messages: Sequence[Message], committed: Callable[[], None] | None, wall_ns: int, mono_ns: int) -> None: ...
    def up(self, limits: Limits) -> None: ...
    def subscribed(self, *, kept: bool) -> None:
        """The broker has answered for every topic. `kept`: it had kept our session."""

    def down(self, reason: str) -> None: ...


class _Job(NamedTuple):
    """A command on its way to the connection's thread: for this link and no later one."""

    link: Link | None
    until_ns: int
    topic: str
    payload: bytes
    expiry_s: float
    done: Done


class Bell:
    """Wakes a thread that polls, from any other."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens any more
            self._there.send(b"!")

    def hush(self) -> None:
        with contextlib.suppress(OSError):
            self._here.recv(4096)

    def fileno(self) -> int:
        return self._here.fileno()

    def close(self) -> None:
        self._here.close()
        self._there.close()


class Session:
    """Keeps one persistent MQTT session. `run` is the body of the thread; `stop`, `publish` and `status` are for any thread."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        topics: Mapping[str, int],
        *,
        listener: Listener,
        clock: Clock,
        state: Path,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """`loop` turns the link while it is up; without one the thread does."""
        self._loop = loop
        self._broker, self._client_id, self._topics = broker, client_id, dict(topics)
        self._listener, self._clock, self._memory = listener, clock, state / "subscriptions.json"
        self._bell = Bell()
        self._stop = threading.Event()
        self._jobs: deque[_Job] = deque()
        self._link: Link | None = None
        self._version: Version = broker.version
        self._silent_v5 = 0
        self._ends_ns: deque[int] = deque(maxlen=_THROWN_OUT)
        self._up_ns = 0
        self._asked_ns = 0
        self._bulk = broker.bulk
        self._random = random.SystemRandom()
        self._totals: dict[str, int] = {}
        self.connects = 0
        self.limits: Limits | None = None
        self.reason = "not started"
        self.since_ns = clock.mono_ns()
        self.granted: dict[str, str] = {}  # topic -> "granted", "refused: ..."
        self._heard_of_all = False  # since the link came up
        self.notes: dict[str, str] = {}

    # ---- for any thread

    def stop(self) -> None:
        self._stop.set()
        self._bell.ring()

    def publish(self, topic: str, payload: bytes, *, expiry_s: float, within_s: float, done: Done) -> None:
        """Send a command if the link is up right now, and not later than `within_s`. `done` is called once, on any thread."""
        if self.limits is None:
            done("refused", f"no link: {self.reason}")
            return
        self._jobs.append(_Job(self._link, self._clock.mono_ns() + int(within_s * 1e9), topic, payload, expiry_s, done))
        self._bell.ring()

    def status(self) -> dict[str, Any]:
        link, limits = self._link, self.limits
        return {
            "link": "up" if limits else "down",
            "since_s": round((self._clock.mono_ns() - self.since_ns) / 1e9, 1),
            "reason": self.reason,
            "version": str(self._version),
            "reading": "bulk" if self._bulk else "stock",
            "connects": self.connects,
            "unacknowledged": link.waiting if link else 0,
            "counts": self._counts(),
            "notes": list(self.notes.values()),
        }

    def _counts(self) -> dict[str, int]:
        link = self._link
        now = dict(link.counts) if link else {}
        return {key: self._totals.get(key, 0) + now.get(key, 0) for key in {**self._totals, **now}}

    # ---- the thread

    def run(self) -> None:
        """Until `stop`. Device trouble never ends it."""
        if self._bulk and not fits():
            self._bulk = False
            self._note("reading", "this paho-mqtt is unknown to the bulk reader: reading the stock way, with more CPU")
        backoff = self._broker.backoff
        delay_s = backoff.first
        try:
            while not self._stop.is_set():
                refused = self._one_link()
                if self._up_ns and self._clock.mono_ns() - self._up_ns > _STABLE_NS:
                    delay_s = backoff.first
                self._refuse_jobs()
                delay_s = min(delay_s, backoff.longest if refused else backoff.unreached)
                self._stop.wait(self._random.uniform(delay_s / 2, delay_s))
                delay_s *= 2
        finally:
            self._refuse_jobs()
            self._bell.close()

    def _one_link(self) -> bool:
        """One connection, from its beginning to its end; True if the broker did not want us."""
        self._up_ns = 0
        refused = False
        link: Link | None = None
        try:
            link = Link(self._broker, self._client_id, self._version, handler=self, clock=self._clock, wake=self._bell)
            link.open(bulk=self._bulk)
            self._link = link
            self._turns(link)
            reason = "stopped"
        except LinkLost as e:
            reason = str(e)
            refused = isinstance(e, Refused) or "taken over" in reason.lower()
            self._learn(e)
        except (OSError, ValueError) as e:  # a certificate file that cannot be read
            reason = f"{self._broker.url}: {e}"
        self._end(link, reason)
        return refused

    def _turns(self, link: Link) -> None:
        """Until the link is lost or `stop`: in the control loop where there is one and we read in bulk, else on this thread."""
        if self._loop is not None and link.bulk:
            pause_s = self._broker.coalesce
            Drive(self._loop, link, bell=self._bell.fileno(), pause_s=pause_s, after=lambda: self._serve(link)).run(self._stop.is_set)
            return
        while not self._stop.is_set():
            link.turn(_TURN_S)
            self._serve(link)
            if self._broker.coalesce:
                self._stop.wait(self._broker.coalesce)

    def _serve(self, link: Link) -> None:
        while self._jobs:
            job = self._jobs.popleft()
            if job.link is not link:
                job.done("refused", "the link was lost before the command left")
            elif self._clock.mono_ns() > job.until_ns:
                job.done("refused", "too late: the connection was busy")
            else:
                link.publish(job.topic, job.payload, job.expiry_s, job.done)
        if self.limits and self._clock.mono_ns() - self._asked_ns > _ASK_AGAIN_NS:
            self._ask(link, [topic for topic, answer in self.granted.items() if answer.startswith("refused")])

    def _end(self, link: Link | None, reason: str) -> None:
        was_up, self.limits, self._link = self.limits is not None, None, None
        if link is not None:
            link.close(reason)
            for key, value in link.counts.items():
                self._totals[key] = self._totals.get(key, 0) + value
        self.reason = reason
        if was_up:
            self.since_ns = self._clock.mono_ns()
            self._suspect_a_fight()
        self._listener.down(reason)

    # ---- what a lost link teaches

    def _learn(self, error: LinkLost) -> None:
        """Fall back to 3.1.1 where the broker says so, or where it never answers MQTT 5."""
        if isinstance(error, OldBroker):
            self._fall_back(str(error))
        elif isinstance(error, Refused) or self._link is None or self._up_ns:
            return  # it answered, or there was nobody to answer
        elif self._version == 5:
            self._silent_v5 += 1
            if self._silent_v5 >= _SILENT_V5:
                self._fall_back("no answer to MQTT 5")
        elif self._broker.version == 5 and self._silent_v5:
            self._version = 5  # 3.1.1 does no better
            self.notes.pop("version", None)

    def _fall_back(self, why: str) -> None:
        self._version = "3.1.1"
        self._note("version", f"{why}: speaking MQTT 3.1.1 (write `version: 3.1.1` to start with it)")

    def _suspect_a_fight(self) -> None:
        now = self._clock.mono_ns()
        if self._up_ns and now - self._up_ns < _STABLE_NS and not self._stop.is_set():
            self._ends_ns.append(now)
        taken = "taken over" in self.reason.lower()
        if taken or (len(self._ends_ns) == _THROWN_OUT and now - self._ends_ns[0] < _MINUTE_NS):
            self._note("client_id", f"thrown out again and again: does another client use the id {self._client_id!r}? give each its own")

    # ---- Handler, for the link

    def received(self, messages: Sequence[Message], committed: Callable[[], None] | None, wall_ns: int, mono_ns: int) -> None:
        self._listener.received(messages, committed, wall_ns, mono_ns)

    def linked(self, limits: Limits) -> None:
        link = self._link
        if link is None:
            return
        self.connects += 1
        self._up_ns = self.since_ns = self._clock.mono_ns()
        self._silent_v5 = 0
        self.limits, self.reason = limits, "connected"
        self._remark(limits)
        self._forget_old_topics(link, limits)
        self.granted, self._heard_of_all = dict.fromkeys(self._topics, "asked"), False
        self._ask(link, list(self._topics))
        self._listener.up(limits)

    def subscribed(self, topic: str, granted: int | None, reason: str) -> None:
        self.granted[topic] = f"refused: {reason}" if granted is None else "granted"
        if granted is None:
            log.warning("%s: the broker refuses topic %s: %s", self._client_id, topic, reason)
        elif granted < self._topics.get(topic, 0):
            self.granted[topic] = f"granted with QoS {granted} only: messages can be lost"
        if self.limits is not None and "asked" not in self.granted.values() and not self._heard_of_all:
            self._heard_of_all = True
            self._listener.subscribed(kept=self.limits.session_present)

    def _ask(self, link: Link, topics: Sequence[str]) -> None:
        self._asked_ns = self._clock.mono_ns()
        if topics:
            link.subscribe({topic: self._topics[topic] for topic in topics})

    def _remark(self, limits: Limits) -> None:
        if limits.session_expiry_s is not None and limits.session_expiry_s < self._broker.session_expiry:
            self._note("expiry", f"the broker keeps the session for {limits.session_expiry_s} s only")
        if not limits.wildcards and any("+" in topic or "#" in topic for topic in self._topics):
            self._note("wildcards", "the broker does not allow wildcards in topics")

    # ---- which topics the broker's session still holds from a former configuration

    def _forget_old_topics(self, link: Link, limits: Limits) -> None:
        """The list only grows while the session lives: an UNSUBSCRIBE that got lost is sent again the next time."""
        held = self._remembered() if limits.session_present else set()
        link.unsubscribe(sorted(held - self._topics.keys()))
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            self._memory.write_bytes(msgspec.json.encode(sorted(held | self._topics.keys())))
        except OSError as e:
            self._note("memory", f"{self._memory}: {e.strerror}; topics taken out of the configuration stay subscribed")

    def _remembered(self) -> set[str]:
        try:
            return set(msgspec.json.decode(self._memory.read_bytes(), type=list[str]))
        except (OSError, msgspec.DecodeError):
            return set()

    # ---- small things

    def _note(self, key: str, text: str) -> None:
        if self.notes.get(key) != text:
            self.notes[key] = text
            log.warning("%s: %s", self._client_id, text)

    def _refuse_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft().done("refused", f"no link: {self.reason}")
