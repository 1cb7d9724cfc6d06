"""Policy trim: bounded, in proportion or by steps, back to neutral, and still without evidence."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.decide.assembly import PolicyError
from edge_agent.decide.policies import trim


def policy(**config: Any) -> trim.Policy:
    made = trim.Config.model_validate({"policy": "trim", "tag": "speed", "limits": [-200.0, 100.0], **config})
    return trim.Policy(made, loop="p1", tags=["flow"], writable=["speed"])


def trims(made: trim.Policy, situate: Any, *errors: float) -> list[float | None]:
    decisions = [made.step(situate(t, tags={"flow": e})) for t, e in enumerate(errors)]
    return [d.proposals[0].value if d.proposals else None for d in decisions]  # type: ignore[misc]


def test_it_is_in_proportion_to_the_error_beyond_the_dead_zone(situate: Any) -> None:
    made = policy(error="flow", gain=-10.0, dead_zone=1.0)
    assert trims(made, situate, 0.5, 1.0, 3.0, -3.0, 1000.0, -1000.0) == [None, None, -20.0, 20.0, -200.0, 100.0]


def test_it_returns_to_neutral_and_keeps_saying_so(situate: Any) -> None:
    made = policy(error="flow", gain=10.0, dead_zone=1.0, resolution=5.0)
    assert trims(made, situate, 3.0, 3.2, 3.6, 0.0, 0.0) == [20.0, 20.0, 26.0, 0.0, 0.0]


def test_it_moves_step_by_step_and_back_at_the_same_pace(situate: Any) -> None:
    made = policy(error="flow - 30", step=-40.0, every="2 s", dead_zone=1.0)
    assert trims(made, situate, *[35.0] * 4, *[30.0] * 6) == [-40.0, -40.0, -80.0, -80.0, -40.0, -40.0, 0.0, 0.0, 0.0, 0.0]


def test_steps_end_at_the_limits(situate: Any) -> None:
    made = policy(error="flow", step=60.0, every="1 s")
    assert trims(made, situate, *[1.0] * 3, *[-1.0] * 2) == [60.0, 100.0, 100.0, 40.0, -20.0]


def test_it_explains_itself(situate: Any) -> None:
    made = policy(gain=-400.0, error="score - 0.5", dead_zone=0.1)
    decision = made.step(situate(0, score=0.8))
    assert decision.reason == decision.proposals[0].reason == "speed trim -80: score 0.8 - 0.5"
    assert (decision.previous, decision.state) == ("neutral", "trimming")
    assert made.step(situate(1, score=0.55)).reason == "speed trim 0: score 0.55 - 0.5 lies in the dead zone of 0.1"
    assert policy(gain=-400.0).step(situate(0, score=0.9)).reason == "speed trim -200: score 0.9, at its limit"


@pytest.mark.parametrize("more", [{"status": "novel", "score": 0.9}, {"score": None}])
def test_without_evidence_the_last_trim_stays(situate: Any, more: Any) -> None:
    made = policy(gain=-100.0)
    made.step(situate(0, score=0.5))
    decision = made.step(situate(1, **more))
    assert (decision.proposals[0].value, decision.state, decision.unknown) == (-50.0, "trimming", True)
    assert "trim -50 stays: " in decision.reason


def test_without_evidence_it_never_starts(situate: Any) -> None:
    decision = policy(gain=-100.0).step(situate(0, status="late", score=0.9))
    assert (decision.proposals, decision.unknown) == ((), True)


def test_reset_forgets(situate: Any) -> None:
    made = policy(gain=-100.0)
    made.step(situate(0, score=0.5))
    made.reset()
    assert made.step(situate(1, score=0.0)).proposals == ()
    assert made.writes == {"speed"}


def test_a_clock_set_back_does_not_stop_the_steps(situate: Any) -> None:
    made = policy(error="flow", step=10.0, every="5 s")
    assert [made.step(situate(t, tags={"flow": 1.0})).proposals[0].value for t in (100, 10, 11, 15)] == [10.0, 20.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "either `gain` or `step`"),
        ({"gain": 1.0, "step": 1.0}, "either `gain` or `step`"),
        ({"gain": 0.0}, "does nothing"),
        ({"step": 0.0}, "does nothing"),
        ({"gain": 1.0, "limits": [5.0, 10.0]}, "must rise and hold 0"),
        ({"gain": 1.0, "limits": [0.0, 0.0]}, "must rise and hold 0"),
    ],
)
def test_a_senseless_config_is_refused(config: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        policy(**config)


def test_a_wrong_error_expression_is_told_with_its_path() -> None:
    with pytest.raises(PolicyError) as caught:
        policy(gain=1.0, error="flow > 1")
    assert caught.value.problems == ((("error",), "column 1: a number is needed here, this is true or false"),)
    assert trim.expressions(trim.Config(policy="trim", tag="v", gain=1.0, limits=[-1, 1])) == [(("error",), "score")]
