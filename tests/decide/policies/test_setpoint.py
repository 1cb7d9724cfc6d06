"""Policy setpoint: follows an expression or a table, slowly enough, and holds what it has without evidence."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.decide.assembly import PolicyError
from edge_agent.decide.policies import setpoint
from edge_agent.messages import Proposal, Quality, Reading

TABLE = {"of": "flow", "points": [[0.0, 900.0], [20.0, 1000.0], [60.0, 1400.0]]}


def policy(**config: Any) -> setpoint.Policy:
    made = setpoint.Config.model_validate({"policy": "setpoint", "tag": "speed", **config})
    return setpoint.Policy(made, loop="p1", tags=["flow", "running"], writable=["speed"])


def wish(decision: Any) -> Any:
    return decision.proposals[0].value if decision.proposals else None


def test_it_follows_an_expression(situate: Any) -> None:
    made = policy(value="1450 - 200 * score")
    decision = made.step(situate(0, score=0.5))
    assert decision.proposals == (Proposal("set", "speed", 1350.0, "speed should be 1350: 1450 - 200 * score 0.5"),)
    assert (decision.previous, decision.state, decision.unknown) == ("idle", "following", False)
    assert made.writes == {"speed"}


@pytest.mark.parametrize(("flow", "speed"), [(0.0, 900.0), (10.0, 950.0), (20.0, 1000.0), (50.0, 1300.0), (60.0, 1400.0)])
def test_it_follows_a_table_in_straight_lines(situate: Any, flow: float, speed: float) -> None:
    assert wish(policy(table=TABLE).step(situate(0, tags={"flow": flow}))) == speed


@pytest.mark.parametrize(("flow", "speed"), [(0.0, 900.0), (19.0, 900.0), (20.0, 1000.0), (60.0, 1400.0)])
def test_it_follows_a_table_in_steps(situate: Any, flow: float, speed: float) -> None:
    assert wish(policy(table=TABLE | {"between": "step"}).step(situate(0, tags={"flow": flow}))) == speed


def test_outside_the_table_the_last_wish_stays(situate: Any) -> None:
    made = policy(table=TABLE)
    assert made.step(situate(0, tags={"flow": 61.0})).proposals == ()
    made.step(situate(1, tags={"flow": 10.0}))
    decision = made.step(situate(2, tags={"flow": 61.0}))
    assert (wish(decision), decision.unknown) == (950.0, True)
    assert decision.reason == "the last wish stays: flow 61 lies outside the table"


def test_a_curve_that_overflows_is_no_setpoint(situate: Any) -> None:
    made = policy(table={"of": "flow", "points": [[0, -1.7e308], [1, 1.7e308]]})
    assert made.step(situate(0, tags={"flow": 0.5})).proposals == ()


def test_small_moves_are_not_followed(situate: Any) -> None:
    made = policy(value="flow", dead_band=2.0)
    assert [wish(made.step(situate(t, tags={"flow": f}))) for t, f in enumerate([10.0, 12.0, 12.1, 11.0])] == [10.0, 10.0, 12.1, 12.1]


def test_a_setpoint_is_held_for_a_while(situate: Any) -> None:
    made = policy(value="flow", hold="3 s")
    decisions = [made.step(situate(t, tags={"flow": 10.0 + t})) for t in range(5)]
    assert [wish(d) for d in decisions] == [10.0, 10.0, 10.0, 13.0, 13.0]
    assert decisions[2].reason == "flow 12: waits, the last change is 2 of 3 s old"


def test_hold_is_not_escaped_through_idle(situate: Any) -> None:
    made = policy(value="flow", hold="5 s", when="running")
    said = [(10.0, True), (20.0, False), (30.0, True)]
    assert [wish(made.step(situate(t, tags={"flow": f, "running": r}))) for t, (f, r) in enumerate(said)] == [10.0, None, None]


def test_where_when_does_not_hold_nothing_is_wanted(situate: Any) -> None:
    made = policy(value="flow", when="running")
    made.step(situate(0, tags={"flow": 10.0, "running": True}))
    decision = made.step(situate(1, tags={"flow": 10.0, "running": False}))
    assert (decision.proposals, decision.state, decision.unknown) == ((), "idle", False)
    assert decision.reason == "nothing is wanted: running does not hold"
    assert made.step(situate(2, status="late", tags={"running": False})).unknown


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tags": {"flow": 10.0, "running": True}, "status": "late"}, "the diagnosis is late"),
        ({"tags": {"flow": Reading(10.0, Quality.BAD, 0, 0.0), "running": True}}, "flow unknown is unknown"),
        ({"tags": {"flow": 99.0}}, "running unknown cannot be decided"),
    ],
)
def test_without_evidence_the_last_wish_stays(situate: Any, more: Any, words: str) -> None:
    made = policy(value="flow", when="running")
    made.step(situate(0, tags={"flow": 5.0, "running": True}))
    decision = made.step(situate(1, **more))
    assert (wish(decision), decision.unknown) == (5.0, True)
    assert words in decision.reason


def test_reset_forgets(situate: Any) -> None:
    made = policy(value="flow", hold="9 s")
    made.step(situate(0, tags={"flow": 5.0}))
    made.reset()
    assert wish(made.step(situate(1, tags={"flow": 6.0}))) == 6.0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "either `value` or `table`"),
        ({"value": "flow", "table": TABLE}, "either `value` or `table`"),
        ({"table": {"of": "flow", "points": [[1.0, 2.0], [1.0, 3.0]]}}, "must rise"),
        ({"value": "flow", "dead_band": -1.0}, "greater than or equal"),
    ],
)
def test_a_senseless_config_is_refused(config: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        policy(**config)


def test_wrong_expressions_are_told_with_their_paths() -> None:
    with pytest.raises(PolicyError) as caught:
        policy(table=TABLE | {"of": "flwo"}, when="flow", tag="speeed")
    assert [path for path, _ in caught.value.problems] == [("tag",), ("table", "of")]
    with pytest.raises(PolicyError, match="when: column 9"):
        policy(value="flow", when="running >")
    config = setpoint.Config.model_validate({"policy": "setpoint", "tag": "speed", "value": "flow"})
    assert setpoint.expressions(config) == [(("value",), "flow")]
    assert setpoint.expressions(setpoint.Config(policy="setpoint", tag="speed", value="flow", when="running")) == [
        (("value",), "flow"),
        (("when",), "running"),
    ]
