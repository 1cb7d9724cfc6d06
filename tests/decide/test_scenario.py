"""Scenarios: what is given stays, windows come on a grid, and what was not as expected is told."""

from typing import Any

import pytest

from edge_agent.decide.policies import pid, rules
from edge_agent.decide.scenario import Case, Failure, run, unknown_names

RULES = {
    "policy": "rules",
    "states": {
        "normal": [{"when": "score > 0.8", "for": "5 s", "go": "relief"}],
        "relief": [{"when": "score < 0.3 or flow < 5", "go": "normal"}],
    },
    "actions": {"relief": {"trim": {"speed": -200.0}, "call": {"alarm": [1, "high"]}}},
}


def case(given: Any, expect: Any, **more: Any) -> Case:
    return Case.model_validate({"name": "a case", "loop": "p1", "given": given, "expect": expect, **more})


def outcome(given: Any, expect: Any, **more: Any) -> list[Failure]:
    config = rules.Config.model_validate(RULES)
    return run(case(given, expect, **more), rules.Policy(config, loop="p1", tags=["flow"], writable=["speed", "alarm"]))


HIGH = [{"at": "0 s", "score": 0.2, "tags": {"flow": 31}}, {"at": "10 s", "score": 0.9}]


def test_what_is_expected_and_happens_is_no_failure() -> None:
    expect = [
        {"at": "14 s", "state": "normal", "propose": {}, "unknown": False},
        {"at": "15 s", "state": "relief", "propose": {"speed": -200, "alarm": [1, "high"]}, "reason": "score 0.9 > 0.8 for 5 s"},
        {"at": "16 s", "until": "40 s", "state": "relief", "propose": {"speed": -200.0, "alarm": [1, "high"]}},
    ]
    assert outcome(HIGH, expect) == []


def test_what_is_not_as_expected_is_told_with_both_sides_and_the_reason() -> None:
    expect = [{"at": "12 s", "state": "relief", "propose": {"speed": -200, "valve": True}, "unknown": True, "reason": "flow"}]
    failures = outcome(HIGH, expect)
    assert [str(f) for f in failures] == [
        "at 12 s: state: expected relief, got normal (normal: score 0.9 > 0.8 for 2 s, needs 5 s)",
        "at 12 s: propose: expected {speed: -200, valve: true}, got {} (normal: score 0.9 > 0.8 for 2 s, needs 5 s)",
        "at 12 s: unknown: expected true, got false (normal: score 0.9 > 0.8 for 2 s, needs 5 s)",
        "at 12 s: reason: expected flow, got normal: score 0.9 > 0.8 for 2 s, needs 5 s (normal: score 0.9 > 0.8 for 2 s, needs 5 s)",
    ]


def test_every_window_up_to_until_is_looked_at_in_order_of_time() -> None:
    expect = [{"at": "14 s", "until": "17 s", "state": "normal"}, {"at": "3 s", "state": "relief"}]
    assert [f.at_s for f in outcome(HIGH, expect)] == [3.0, 15.0, 16.0, 17.0]


def test_the_last_window_up_to_the_time_is_meant() -> None:
    assert outcome(HIGH, [{"at": "15.5 s", "state": "relief", "propose": {"speed": -200, "alarm": [1, "high"]}}]) == []
    assert outcome(HIGH, [{"at": "15.5 s", "state": "relief"}], every="2 s")[0].got == "normal"  # windows at 14 s and 16 s


@pytest.mark.parametrize(
    "late",
    [{"status": "late"}, {"score": None}, {"tags": {"flow": {"value": 3, "quality": "stale", "age": "9 s"}}}, {"tags": {"flow": {}}}],
)
def test_unknowns_can_be_given(late: Any) -> None:
    given = [{"score": 0.9, "tags": {"flow": 31.0}}, {"at": "10 s", "score": 0.5, **late}]
    assert outcome(given, [{"at": "9 s", "unknown": False}, {"at": "10 s", "state": "relief", "unknown": True}]) == []


def test_shares_and_labels_can_be_given() -> None:
    when = 'label == "leak" and probability("leak") > 0.5 and contribution(flow) > 0.6 and confidence > 0.5 and novelty < 0.5 and raw > 1'
    config = rules.Config.model_validate({"policy": "rules", "states": {"a": [{"when": when, "go": "b"}], "b": []}})
    given = {
        "label": "leak",
        "raw": 2.0,
        "confidence": 0.9,
        "novelty": "1%",
        "probabilities": {"leak": 0.9},
        "contributions": {"flow": 0.7},
    }
    made = rules.Policy(config, loop="p1", tags=["flow"], writable=[])
    assert run(case([given], [{"at": "0 s", "state": "b"}]), made) == []


PID = {"policy": "pid", "tag": "valve", "measured": "flow", "setpoint": 30, "kp": 1.0, "ki": 0.5, "limits": [0, 100]}


def test_the_plant_holds_what_was_wanted_while_armed_and_what_is_given_else() -> None:
    def made() -> pid.Policy:
        return pid.Policy(pid.Config.model_validate(PID), loop="p1", tags=["flow"], writable=["valve"])

    given = [{"tags": {"flow": 20.0}, "applied": {"valve": 10}, "armed": False}, {"at": "2 s", "armed": True}]
    expect = [
        {"at": "1 s", "state": "tracking", "propose": {"valve": 10}},
        {"at": "2 s", "propose": {"valve": 10}},
        {"at": "3 s", "propose": {"valve": 15}},
    ]
    assert run(case(given, expect[:2]), made()) == []
    held = run(case(given, expect), made())
    assert [f.at_s for f in held] == []


def test_tags_that_nobody_knows_are_found_with_their_paths() -> None:
    strange = case([{"tags": {"flow": 1, "flwo": 2}, "applied": {"x": 1}}], [{"at": "0 s", "propose": {"speed": 1, "y": 2}}])
    assert unknown_names(strange, frozenset({"flow", "speed"})) == [
        (("given", 0, "tags", "flwo"), "flwo"),
        (("given", 0, "applied", "x"), "x"),
        (("expect", 0, "propose", "y"), "y"),
    ]


def test_a_switch_is_not_a_number() -> None:
    config = rules.Config.model_validate({"policy": "rules", "states": {"a": []}, "actions": {"a": {"set": {"valve": True, "text": "on"}}}})
    made = rules.Policy(config, loop="p1", tags=[], writable=["valve", "text"])
    expect = [{"at": "0 s", "propose": {"valve": 1, "text": "on"}}]
    assert [str(f) for f in run(case([{}], expect), made)] == [
        "at 0 s: propose: expected {valve: 1, text: on}, got {valve: true, text: on} (a: no way out)"
    ]
    made.reset()
    assert run(case([{}], [{"at": "0 s", "propose": {"valve": True, "text": "on"}}]), made) == []
