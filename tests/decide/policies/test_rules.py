"""Policy rules: states, dwell, hysteresis, cool-down, and what happens without evidence."""

from typing import Any

import pytest

from edge_agent.decide.assembly import PolicyError
from edge_agent.decide.policies import rules
from edge_agent.messages import Decision, Proposal, Quality, Reading

STATES = {
    "normal": [{"when": "score > 0.8", "for": "5 s", "go": "relief"}],
    "relief": [{"when": "score < 0.3", "for": "3 s", "go": "normal"}, {"when": "flow < 5", "go": "safe"}],
    "safe": [],
}
ACTIONS = {"relief": {"trim": {"speed": -200.0}}}


def policy(states: Any = STATES, actions: Any = ACTIONS, **more: Any) -> rules.Policy:
    config = rules.Config.model_validate({"policy": "rules", "states": states, "actions": actions, **more})
    return rules.Policy(config, loop="p1", tags=["flow", "speed", "valve"], writable=["speed", "valve", "reject"])


def run(made: rules.Policy, situate: Any, start: int, *scores: float | None, **more: Any) -> list[Decision]:
    more.setdefault("tags", {"flow": 30.0})
    return [made.step(situate(start + i, score=score, **more)) for i, score in enumerate(scores)]


def test_a_score_that_stays_high_long_enough_changes_the_state(situate: Any) -> None:
    *before, last = run(policy(), situate, 0, *[0.91] * 6)
    assert [d.state for d in before] == ["normal"] * 5
    assert (last.previous, last.state, last.unknown) == ("normal", "relief", False)
    assert last.reason == "normal -> relief: score 0.91 > 0.8 for 5 s"
    assert last.proposals == (Proposal("trim", "speed", -200.0, "relief: score 0.91 > 0.8 for 5 s"),)
    assert before[3].reason == "normal: score 0.91 > 0.8 for 3 s, needs 5 s"


def test_between_the_thresholds_the_state_stays(situate: Any) -> None:
    made = policy()
    run(made, situate, 0, *[0.91] * 6)
    decisions = run(made, situate, 6, *[0.5] * 50)
    assert {d.state for d in decisions} == {"relief"}
    assert {d.proposals for d in decisions} == {(Proposal("trim", "speed", -200.0, "relief: score 0.91 > 0.8 for 5 s"),)}
    assert decisions[0].reason == "relief: score 0.5 < 0.3 does not hold"


def test_a_short_dip_starts_the_dwell_again(situate: Any) -> None:
    decisions = run(policy(), situate, 0, 0.9, 0.9, 0.9, 0.1, *[0.9] * 6)
    assert [d.state for d in decisions] == ["normal"] * 9 + ["relief"]


def test_leaving_a_trimming_state_wants_neutral_from_then_on(situate: Any) -> None:
    made = policy()
    run(made, situate, 0, *[0.91] * 6)
    decisions = run(made, situate, 6, *[0.1] * 6)
    assert [d.state for d in decisions] == ["relief"] * 3 + ["normal"] * 3
    back = Proposal("trim", "speed", 0.0, "normal: back to neutral, score 0.1 < 0.3 for 3 s")
    assert [d.proposals for d in decisions[3:]] == [(back,)] * 3


def test_a_state_that_was_never_left_for_a_trim_wants_nothing(situate: Any) -> None:
    assert run(policy(), situate, 0, 0.1, 0.2) == run(policy(), situate, 0, 0.1, 0.2)
    assert run(policy(), situate, 0, 0.1)[0].proposals == ()
    assert run(policy(), situate, 0, 0.1)[0].reason == "normal: score 0.1 > 0.8 does not hold"


def test_the_next_state_may_set_what_the_last_one_trimmed(situate: Any) -> None:
    states = {"a": [{"when": "score > 0.8", "go": "b"}], "b": [{"when": "score < 0.3", "go": "c"}], "c": []}
    actions = {"b": {"trim": {"speed": -5.0}}, "c": {"set": {"speed": 100, "valve": True}}}
    last = run(policy(states, actions), situate, 0, 0.9, 0.1)[-1]
    assert [(p.kind, p.tag, p.value) for p in last.proposals] == [("set", "speed", 100), ("set", "valve", True)]


def test_a_call_is_wanted_as_long_as_the_state_lasts_but_not_by_a_state_that_was_never_entered(situate: Any) -> None:
    states = {"a": [{"when": "score > 0.8", "go": "b"}], "b": [{"when": "score < 0.1", "go": "a"}]}
    actions = {"a": {"call": {"reject": [0]}}, "b": {"call": {"reject": [1, "bad"]}}}
    decisions = run(policy(states, actions), situate, 0, 0.5, 0.9, 0.9, 0.0)
    assert [[p.value for p in d.proposals] for d in decisions] == [[], [(1, "bad")], [(1, "bad")], [(0,)]]
    assert decisions[2].reason == "b: score 0.9 < 0.1 does not hold"


def test_a_state_without_a_way_out_is_kept(situate: Any) -> None:
    assert run(policy({"a": []}, {}), situate, 0, 0.9)[0].reason == "a: no way out"


def test_the_first_way_out_that_holds_wins(situate: Any) -> None:
    states = {"a": [{"when": "score > 0.8", "go": "b"}, {"when": "score > 0.5", "go": "c"}], "b": [], "c": []}
    assert run(policy(states, {}), situate, 0, 0.9)[0].state == "b"
    assert run(policy(states, {}), situate, 0, 0.6)[0].state == "c"


def test_windows_count_beside_time(situate: Any) -> None:
    states = {"a": [{"when": "score > 0.8", "for": "1 s", "windows": 4, "go": "b"}], "b": []}
    decisions = run(policy(states, {}), situate, 0, *[0.9] * 4)
    assert [d.state for d in decisions] == ["a", "a", "a", "b"]
    assert decisions[1].reason == "a: score 0.9 > 0.8 for 1 s and 2 windows, needs 1 s and 4 windows"
    assert decisions[3].reason == "a -> b: score 0.9 > 0.8 for 3 s and 4 windows"


@pytest.mark.parametrize("status", ["unknown", "novel", "late", "failed"])
def test_without_evidence_the_state_and_its_wish_stay_and_the_decision_is_unknown(situate: Any, status: str) -> None:
    made = policy()
    run(made, situate, 0, *[0.91] * 6)
    decisions = run(made, situate, 6, *[0.0] * 9, status=status, why="took 1.2 s")
    assert {d.state for d in decisions} == {"relief"}
    assert all(d.unknown and d.proposals[0].value == -200.0 for d in decisions)
    assert decisions[0].reason == f"relief kept: the diagnosis is {status} (took 1.2 s)"


def test_without_evidence_no_state_that_acts_is_entered_even_on_tags_alone(situate: Any) -> None:
    states = {"normal": [{"when": "flow > 5", "for": "2 s", "go": "relief"}], "relief": []}
    made = policy(states, ACTIONS)
    assert {d.state for d in run(made, situate, 0, *[0.9] * 9, status="late")} == {"normal"}
    assert [d.state for d in run(made, situate, 9, *[0.9] * 3)] == ["normal", "normal", "relief"]


def test_without_evidence_a_state_that_does_nothing_may_still_be_entered(situate: Any) -> None:
    made = policy()
    run(made, situate, 0, *[0.91] * 6)
    last = run(made, situate, 6, 0.9, status="late", tags={"flow": 2.0})[-1]
    assert (last.state, last.unknown) == ("safe", True)
    assert [(p.tag, p.value) for p in last.proposals] == [("speed", 0.0)]


def test_a_condition_that_cannot_be_decided_keeps_the_state(situate: Any) -> None:
    made = policy()
    run(made, situate, 0, *[0.91] * 6)
    last = run(made, situate, 6, 0.5, tags={"flow": Reading(2.0, Quality.STALE, 0, 9.0)})[-1]
    assert (last.state, last.unknown) == ("relief", True)
    assert last.reason == "relief kept: flow unknown < 5 cannot be decided"


def test_a_short_unknown_within_the_grace_does_not_restart_the_dwell(situate: Any) -> None:
    made = policy(grace="2 s")
    run(made, situate, 0, 0.9, 0.9, 0.9)
    run(made, situate, 3, None, status="late")
    assert [d.state for d in run(made, situate, 4, *[0.9] * 4)] == ["normal"] * 3 + ["relief"]


def test_after_acting_it_cools_down_before_it_acts_again(situate: Any) -> None:
    made = policy(cool_down="20 s")
    run(made, situate, 0, *[0.91] * 6, *[0.1] * 4)  # back to normal at 9 s
    decisions = run(made, situate, 10, *[0.91] * 20)
    assert [d.state for d in decisions].index("relief") == 19  # 29 s
    assert decisions[10].reason == "normal: score 0.91 > 0.8 for 10 s, but relief has to cool down for another 9 s"


def test_elapsed_and_state_can_be_named(situate: Any) -> None:
    states = {"a": [{"when": "elapsed >= 3 and state == 'a'", "go": "b"}], "b": []}
    assert [d.state for d in run(policy(states, {}), situate, 5, 0.0, 0.0, 0.0, 0.0)] == ["a", "a", "a", "b"]


def test_the_same_situations_give_the_same_decisions_and_reset_forgets(situate: Any) -> None:
    scores = [0.9] * 7 + [0.1] * 5 + [0.5] * 3
    made = policy()
    first = run(made, situate, 0, *scores)
    made.reset()
    assert run(made, situate, 0, *scores) == first == run(policy(), situate, 0, *scores)


def test_initial_and_writes(situate: Any) -> None:
    assert run(policy(initial="relief"), situate, 0, 0.5)[0].proposals[0].reason == "relief: initial state"
    assert policy().writes == {"speed"}


def test_every_expression_has_its_path() -> None:
    config = rules.Config.model_validate({"policy": "rules", "states": STATES})
    assert rules.expressions(config) == [
        (("states", "normal", 0, "when"), "score > 0.8"),
        (("states", "relief", 0, "when"), "score < 0.3"),
        (("states", "relief", 1, "when"), "flow < 5"),
    ]


def test_everything_wrong_is_told_at_once_with_its_path() -> None:
    states = {
        "normal": [{"when": "scor > 0.8", "go": "releif"}, {"when": "score", "go": "normal"}],
        "relief": [],
    }
    actions = {"releif": {"trim": {"flow": 1.0}}, "relief": {"trim": {"speed": 1.0}, "set": {"speed": 2.0, "zzz": 1}}}
    with pytest.raises(PolicyError) as caught:
        policy(states, actions)
    assert caught.value.exit_code == 78
    assert set(caught.value.problems) == {
        (("states", "normal", 0, "when"), "column 1: 'scor' is not known; did you mean 'score'?"),
        (("states", "normal", 0, "go"), "there is no state 'releif'; did you mean 'relief'?"),
        (
            ("states", "normal", 1, "when"),
            "column 1: true or false is needed here, this is a number; compare it, like score > 0.8",
        ),
        (("states", "normal", 1, "go"), "leads from 'normal' to itself; name another state"),
        (("states", "relief"), "no way leads from 'normal' to 'relief'; add one or remove the state"),
        (("actions", "releif"), "there is no state 'releif'; did you mean 'relief'?"),
        (("actions", "releif", "trim", "flow"), "'flow' is not a tag that may be written; there are reject, speed, valve"),
        (("actions", "relief", "set", "zzz"), "'zzz' is not a tag that may be written; there are reject, speed, valve"),
        (("actions", "relief", "set", "speed"), "'speed' is both trimmed and set here; keep one"),
    }
    assert "states.normal.0.go: there is no state" in str(caught.value)


def test_an_unknown_initial_state_and_a_plant_without_writable_tags_are_refused() -> None:
    with pytest.raises(PolicyError, match="there is no state 'zzz'; there are normal, relief, safe"):
        policy(initial="zzz")
    config = rules.Config.model_validate({"policy": "rules", "states": STATES, "actions": ACTIONS})
    with pytest.raises(PolicyError, match="give it `write: true`, and its limits under `execute`"):
        rules.Policy(config, loop="p1", tags=["flow"], writable=[])
