from edge_agent.messages import Sample
from edge_agent.mqtt.holes import Moment, common, hole

S = 1_000_000_000
START = Moment(1000 * S, 10 * S)


def at(seconds: float, moment: Moment = START) -> Moment:
    return Moment(moment.wall_ns + int(seconds * S), moment.mono_ns + int(seconds * S))


def sample(source_s: float, arrived: Moment = START) -> Sample:
    return Sample("flow", 1.0, 0, START.wall_ns + int(source_s * S), arrived.wall_ns, arrived.mono_ns)


def test_a_tag_that_was_never_heard_misses_what_came_since_the_link_was_heard() -> None:
    assert hole(None, START, at(5)) == (1000 * S, 1005 * S)


def test_what_was_under_way_behind_a_late_value_is_missing_too() -> None:
    assert hole(sample(-4), START, at(5)) == (996 * S, 1005 * S)


def test_while_others_were_heard_nothing_was_missing() -> None:
    start, _ = hole(sample(0), at(3600), at(3605))
    assert start == (1000 + 3599) * S


def test_a_device_whose_clock_is_an_hour_ahead_has_its_hole_an_hour_ahead() -> None:
    assert hole(sample(3600), START, at(5)) == (4600 * S, 4605 * S)


def test_a_wall_clock_that_was_set_back_meanwhile_gives_no_hole_that_ends_before_it_begins() -> None:
    start, end = hole(None, START, Moment(900 * S, 15 * S))
    assert start <= end


def test_one_hole_for_all_tags_holds_each_ones() -> None:
    assert common({"a": sample(-4), "b": None, "c": sample(-1)}, START, at(5)) == (996 * S, 1005 * S)
    assert common({}, START, at(5)) == (1000 * S, 1005 * S)
