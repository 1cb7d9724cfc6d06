from typing import Any

import pytest

from edge_agent.messages import Quality
from edge_agent.mqtt.address import MqttTag
from edge_agent.mqtt.frames import Message
from edge_agent.mqtt.routes import Routes, matches

WALL, MONO = 5_000_000_000, 77


def routes(**tags: dict[str, Any]) -> tuple[Routes, list[tuple[str, str]]]:
    news: list[tuple[str, str]] = []
    made = {name: MqttTag.model_validate({"from": "bus", **keys}) for name, keys in tags.items()}
    return Routes(made, lambda tag, text: news.append((tag, text))), news


def message(topic: str, payload: bytes | None, *, retained: int = 0) -> Message:
    return Message(topic.encode(), payload, 0, retained)


@pytest.mark.parametrize(
    ("plan", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+/c", "a//c", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+/b", "a/b", True),
        ("+", "a/", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/b", "a/B", False),
    ],
)
def test_filters_match_as_the_standard_says(plan: str, topic: str, expected: bool) -> None:
    assert matches(plan.encode().split(b"/"), topic.encode().split(b"/")) is expected


def test_several_tags_read_one_message() -> None:
    made, _ = routes(
        a={"topic": "p/1", "decode": {"type": "json", "path": "a"}},
        b={"topic": "p/+", "decode": {"type": "json", "path": "b"}},
        raw={"topic": "#", "decode": {"type": "text"}},
    )
    samples = made.samples([message("p/1", b'{"a":1,"b":2}')], WALL, MONO)
    assert [(s.tag, s.value) for s in samples] == [("a", 1), ("b", 2), ("raw", '{"a":1,"b":2}')]
    assert {(s.source_ns, s.received_ns, s.mono_ns) for s in samples} == {(WALL, WALL, MONO)}


def test_a_retained_value_is_uncertain_unless_it_says_its_time() -> None:
    made, _ = routes(plain={"topic": "a"}, dated={"topic": "b", "decode": {"type": "json", "path": "v", "time": "t"}})
    samples = made.samples([message("a", b"1", retained=1), message("b", b'{"v":1,"t":3000}', retained=1)], WALL, MONO)
    assert [(s.quality, s.source_ns) for s in samples] == [(Quality.UNCERTAIN, WALL), (0, 3 * 10**9)]


def test_bad_messages_are_counted_and_told_once_until_it_is_well_again() -> None:
    made, news = routes(t={"topic": "a"})
    for payload in (b"x", b"y", b"nan", b"1", b"2", b"z", None):
        made.samples([message("a", payload)], WALL, MONO)
    assert [text.split(" (")[0] for _, text in news] == [
        "a message is no good",
        "can be read again",
        "a message is no good",
    ]
    assert made.states["t"].bad == {"type": 3, "not_finite": 1, "oversized": 1}
    assert made.states["t"].count == 7


def test_a_dropped_payload_lets_the_quality_fall() -> None:
    made, _ = routes(t={"topic": "a"})
    (sample,) = made.samples([message("a", None)], WALL, MONO)
    assert (sample.value, sample.quality) == (None, Quality.TYPE)


def test_a_message_without_a_tag_is_counted() -> None:
    made, _ = routes(t={"topic": "a"})
    assert made.samples([message("b", b"1"), message("b", b"1"), Message(b"\xff", b"1", 0, 0)], WALL, MONO) == []
    assert made.unrouted == 3


def test_endless_topics_do_not_fill_the_memory() -> None:
    made, _ = routes(t={"topic": "#"})
    for start in range(0, 50_000, 5000):
        made.samples([message(f"x/{i}", b"1") for i in range(start, start + 5000)], WALL, MONO)
    assert len(made._known) <= 20_000
