"""Every part that is announced is shown by every camera once, or it is said that it was not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.messages import Quality
from edge_agent.perceive.belt import Belt
from edge_agent.perceive.channel import Channel
from edge_agent.perceive.parts import Parts, Pictures, Shot, Track

MS = 1_000_000
PICTURE = np.zeros((4, 4), np.uint8)


def channels(count: int) -> list[Channel]:
    return [Channel(f"c{i}", reach_ns=0, strict=False, linear=False) for i in range(count)]


def parts(*, cameras: int = 1, **track: Any) -> Parts:
    given = {"deadline_ns": 60 * MS, "within_ns": 30 * MS} | track
    return Parts(channels(cameras + 2), [f"eye{i}" for i in range(cameras)], Track(**given))


class Line:
    """Drives a cutter by ms."""

    def __init__(self, cutter: Parts, cameras: int = 1) -> None:
        self.cutter, self.cameras = cutter, cameras

    def see(self, at: float, camera: int = 0, quality: int = 0, picture: np.ndarray = PICTURE) -> None:
        self.cutter.push(camera, int(at * MS), picture, quality)

    def trigger(self, at: float, number: Any, quality: int = 0) -> None:
        self.cutter.push(self.cameras, int(at * MS), number, quality)

    def belt(self, at: float, value: float | None) -> None:
        self.cutter.push(self.cameras + 1, int(at * MS), value, 0 if value is not None else int(Quality.BAD))

    def due(self, at: float) -> list[Shot]:
        return self.cutter.due(int(at * MS))


def told(shots: list[Shot]) -> list[tuple[int, float | None, str]]:
    return [(s.part.number, s.time_ns / MS if s.picture is not None else None, s.why) for s in shots if s.part]


def test_a_part_is_shown_by_the_first_picture_after_its_trigger() -> None:
    line = Line(parts())
    line.see(90)
    line.trigger(100, 7)
    assert line.due(100) == []
    line.see(110)
    line.see(120)
    shots = line.due(120)
    assert told(shots) == [(7, 110.0, "")]
    assert shots[0].deadline_ns == 160 * MS
    assert line.due(999) == []


def test_a_trigger_that_comes_late_by_the_wire_still_finds_its_picture() -> None:
    line = Line(parts())
    for at in (90, 105, 115):
        line.see(at)
    line.trigger(100, 7)
    assert told(line.due(116)) == [(7, 105.0, "")]


def test_a_part_without_a_picture_in_its_time_is_unseen_and_said_so() -> None:
    line = Line(parts())
    line.trigger(100, 7)
    assert line.cutter.due_ns == 130 * MS
    assert line.due(129) == []
    assert told(line.due(130)) == [(7, None, "no picture of part 7 within 30 ms")]
    line.see(131)
    assert line.due(200) == []
    assert line.cutter.counts["no_picture"] == 1


def test_a_bad_picture_is_taken_only_where_no_better_one_comes() -> None:
    line = Line(parts())
    line.trigger(100, 7)
    line.see(105, quality=int(Quality.BAD))
    line.see(115)
    assert [s.quality for s in line.due(115)] == [0]
    line.trigger(200, 8)
    line.see(205, quality=int(Quality.BAD))
    shots = line.due(230)
    assert [(s.part.number, s.quality, s.why) for s in shots if s.part] == [(8, int(Quality.BAD), "")]


def test_a_delay_moves_the_moment_not_the_deadline() -> None:
    line = Line(parts(delay_ns=20 * MS))
    line.trigger(100, 7)
    line.see(110)
    line.see(121)
    shots = line.due(122)
    assert told(shots) == [(7, 121.0, "")]
    assert shots[0].deadline_ns == 160 * MS


def test_every_camera_looks_once_and_one_that_is_blind_is_named() -> None:
    line = Line(parts(cameras=2), cameras=2)
    line.trigger(100, 7)
    line.see(105, camera=1)
    line.see(110, camera=1)
    assert [s.camera for s in line.due(111)] == [1]
    blind = line.due(130)
    assert [(s.camera, s.picture is None) for s in blind] == [(0, True)]
    assert blind[0].part == line_part(7)


def line_part(number: int) -> Any:
    from edge_agent.messages import Part

    return Part(number, 100 * MS, ("eye0", "eye1"))


def test_a_double_trigger_makes_no_second_part() -> None:
    line = Line(parts())
    line.trigger(100, 7)
    line.trigger(101, 7)
    line.see(110)
    assert told(line.due(110)) == [(7, 110.0, "")]
    line.trigger(150, 7)
    line.see(151)
    assert line.due(300) == []
    assert line.cutter.counts["double"] == 2


def test_a_skipped_number_is_a_missed_trigger_and_its_part_counts_as_unseen() -> None:
    line = Line(parts())
    line.trigger(100, 7)
    line.trigger(200, 9)
    line.see(201)
    line.see(101)
    shots = line.due(230)
    assert sorted(told(shots)) == [(7, 101.0, ""), (8, None, "the trigger of part 8 was missed"), (9, 201.0, "")]
    assert line.cutter.counts["missed"] == 1


def test_parts_out_of_order_are_told_from_missed_ones() -> None:
    line = Line(parts())
    line.trigger(100, 7)
    line.trigger(105, 9)
    line.trigger(110, 8)
    line.see(112)
    assert sorted(told(line.due(300))) == [(7, 112.0, ""), (8, 112.0, ""), (9, 112.0, "")]
    counts = line.cutter.counts
    assert (counts["out_of_order"], counts["missed"], counts["double"]) == (1, 0, 0)


def test_a_counter_that_begins_anew_misses_nothing() -> None:
    line = Line(parts())
    line.trigger(100, 5000)
    line.see(101)
    line.trigger(200, 1)
    line.see(201)
    assert told(line.due(300)) == [(5000, 101.0, ""), (1, 201.0, "")]
    assert (line.cutter.counts["restarts"], line.cutter.counts["missed"]) == (1, 0)


@pytest.mark.parametrize("value", [None, "seven", -1, 1.5, float("nan")])
def test_a_trigger_without_a_number_is_counted_and_is_no_part(value: Any) -> None:
    line = Line(parts())
    line.trigger(100, value)
    line.see(101)
    assert line.due(300) == []
    assert line.cutter.counts["bad"] == 1


def test_pulses_are_numbered_and_bounce_only_once() -> None:
    line = Line(parts(numbered=False, debounce_ns=10 * MS))
    for at, level in ((100, True), (102, False), (104, True), (106, False), (150, True)):
        line.trigger(at, level)
    for at in (110, 151):
        line.see(at)
    assert told(line.due(300)) == [(1, 110.0, ""), (2, 151.0, "")]
    assert line.cutter.counts["double"] == 1


@pytest.mark.parametrize("encoder", [False, True])
def test_a_part_is_followed_along_a_belt_that_changes_its_speed(encoder: bool) -> None:
    track = {"belt": Belt(encoder=encoder, scale=0.001 if encoder else 1.0), "camera_m": 0.1, "gate_m": 0.5, "margin_ns": 50 * MS}
    line = Line(parts(**track))
    readings = [(0, 0.0, 1.0), (100, 100.0, 1.0), (200, 200.0, 0.5), (400, 300.0, 0.5)]  # time, encoder, speed
    for at, count, speed in readings[:2]:
        line.belt(at, count if encoder else speed)
    line.trigger(150, 7)  # at 0.15 m: before the camera at 0.25 m, at the gate at 0.65 m
    for at, count, speed in readings[2:]:
        line.see(at - 10)
        line.belt(at, count if encoder else speed)
    line.see(301)
    shots = line.due(500)
    assert told(shots) == [(7, 301.0, "")]
    assert shots[0].deadline_ns == pytest.approx(1100 * MS - 50 * MS, abs=MS)


def test_on_a_belt_that_stands_nothing_becomes_late() -> None:
    line = Line(parts(belt=Belt(encoder=False), camera_m=0.1, gate_m=0.5))
    line.belt(0, 1.0)
    line.trigger(10, 7)
    line.belt(20, 0.0)
    assert line.due(100_000) == []
    line.belt(100_000, 1.0)
    line.see(100_095)
    assert told(line.due(100_095)) == [(7, 100_095.0, "")]


def test_where_the_belt_is_not_known_the_part_is_not_either() -> None:
    line = Line(parts(belt=Belt(encoder=False), camera_m=0.1, gate_m=0.5))
    line.belt(0, 1.0)
    line.trigger(10, 7)
    line.belt(20, None)
    line.see(115)
    assert told(line.due(116)) == [(7, None, "where it is cannot be told: the belt is not known")]


def test_without_a_trigger_every_picture_is_a_look() -> None:
    cutter = Pictures(channels(1))
    for at in (1, 2, 3):
        cutter.push(0, at, PICTURE, 0)
    assert [shot.time_ns for shot in cutter.due(9)] == [1, 2, 3]
    assert cutter.due(9) == []


EVENTS = st.lists(st.tuples(st.sampled_from(["trigger", "see", "due"]), st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=60)


@given(EVENTS)
def test_whatever_comes_no_part_is_shown_twice_and_all_end(events: list[tuple[str, int, int]]) -> None:
    line = Line(parts(cameras=2), cameras=2)
    now, shots = 1000.0, []
    for kind, number, step in events:
        now += step
        if kind == "trigger":
            line.trigger(now, number)
        elif kind == "see":
            line.see(now, camera=number % 2)
        else:
            shots += line.due(now)
    shots += line.due(now + 10_000)
    looked = [(s.part.number, s.camera) for s in shots if s.part]
    assert len(looked) == len(set(looked))
    assert line.cutter.filled[0] == 0
    assert line.cutter.due_ns == 1 << 63
    announced = {number for kind, number, _ in events if kind == "trigger"}
    assert announced <= {number for number, _ in looked}
