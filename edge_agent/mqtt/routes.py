"""Which tags does a message concern, and what samples does it give? Used by one thread, the connection's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edge_agent.messages import Quality, Sample
from edge_agent.mqtt.address import MqttTag
from edge_agent.mqtt.decode import Decoder, document
from edge_agent.mqtt.frames import Message

_REMEMBERED = 20_000  # topics behind wildcards; more than that and the memory starts anew
_UNCERTAIN = int(Quality.UNCERTAIN)
_TYPE = int(Quality.TYPE)
_OVERSIZED = "oversized"


class TagState:
    """What has become of one tag's messages."""

    __slots__ = ("bad", "count", "last_mono_ns", "last_wall_ns", "ok", "sample", "trouble")

    def __init__(self) -> None:
        self.count = 0
        self.bad: dict[str, int] = {}  # kind of trouble -> how often
        self.ok = True
        self.trouble = ""  # the newest kind
        self.last_mono_ns = 0
        self.last_wall_ns = 0
        self.sample: Sample | None = None

    def note(self, kind: str) -> bool:
        """Count trouble; whether it is news (the tag was well before)."""
        self.bad[kind] = self.bad.get(kind, 0) + 1
        news, self.ok, self.trouble = self.ok, False, kind
        return news


class Routes:
    """Topics to tags. `news(tag, text)` is called when a tag's messages turn bad or good again."""

    def __init__(self, tags: Mapping[str, MqttTag], news: Callable[[str, str], None]) -> None:
        self._news = news
        self.states = {name: TagState() for name in tags}
        self.unrouted = 0
        self._plans = [(name, (tag.topic or "").encode().split(b"/"), Decoder(tag.decode)) for name, tag in tags.items() if tag.topic]
        self._known: dict[bytes, tuple[bool, list[tuple[str, TagState, Decoder]]]] = {}

    def samples(self, messages: Iterable[Message], wall_ns: int, mono_ns: int) -> list[Sample]:
        """What these messages say, oldest first."""
        out: list[Sample] = []
        known = self._known
        for topic, payload, _, retained, _ in messages:
            route = known.get(topic) or self._resolve(topic)
            json_wanted, readers = route
            if not readers:
                self.unrouted += 1
                continue
            if payload is None:
                self._oversized(readers, out, (wall_ns, mono_ns))
                continue
            doc = document(payload) if json_wanted else None
            for name, state, decoder in readers:
                facts = decoder.read(doc if decoder.wants_json else payload)
                state.count += 1
                state.last_mono_ns, state.last_wall_ns = mono_ns, wall_ns
                for value, quality, source_ns in facts:
                    if source_ns is None:
                        source_ns = wall_ns
                        if retained:
                            quality |= _UNCERTAIN  # nobody knows how old it is
                    state.sample = sample = Sample(name, value, quality, source_ns, wall_ns, mono_ns)
                    if quality & ~_UNCERTAIN:
                        self._bad(name, state, quality)
                    elif not state.ok:
                        state.ok = True
                        self._news(name, "can be read again")
                    out.append(sample)
        return out

    def _resolve(self, topic: bytes) -> tuple[bool, list[tuple[str, TagState, Decoder]]]:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        levels = topic.split(b"/")
        readers = [(name, self.states[name], decoder) for name, plan, decoder in self._plans if matches(plan, levels)]
        self._known[topic] = route = (any(decoder.wants_json for _, _, decoder in readers), readers)
        return route

    def _oversized(self, readers: Sequence[tuple[str, TagState, Any]], out: list[Sample], now: tuple[int, int]) -> None:
        for name, state, _ in readers:
            state.count += 1
            if state.note(_OVERSIZED):
                self._news(name, "a payload is larger than max_payload; it was dropped")
            state.sample = Sample(name, None, _TYPE, now[0], now[0], now[1])
            out.append(state.sample)

    def _bad(self, name: str, state: TagState, quality: int) -> None:
        kind = str(Quality(quality & ~_UNCERTAIN).name).lower()
        if state.note(kind):
            self._news(name, f"a message is no good ({kind}); see `decode:`, or ask the device")


def matches(plan: Sequence[bytes], levels: Sequence[bytes]) -> bool:
    """Whether a topic (its levels) matches a filter (its levels): MQTT 5.0, 4.7."""
    if levels[0][:1] == b"$" and plan[0] in (b"+", b"#"):
        return False
    for i, part in enumerate(plan):
        if part == b"#":
            return True
        if i >= len(levels) or (part != b"+" and part != levels[i]):
            return False
    return len(plan) == len(levels)
