"""Policy gate: one verdict for each part, whatever the cameras say and in whatever order; without evidence nothing is said."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.contracts import Situation
from edge_agent.decide.assembly import PolicyError
from edge_agent.decide.policies import gate
from edge_agent.messages import Decision, Part

EYES = ("left", "right", "top")


def policy(**config: Any) -> gate.Policy:
    made = gate.Config.model_validate({"policy": "gate", "output": "gate", "accept": "score < 0.2", "reject": "score > 0.6", **config})
    return gate.Policy(made, loop="p1", tags=["running"], writable=["gate"])


class Line:
    """Shows parts to a policy, look by look."""

    def __init__(self, situate: Any, cameras: int = 1, **config: Any) -> None:
        self.policy, self.situate, self.eyes, self.at = policy(**config), situate, EYES[:cameras], 0

    def look(self, number: int, score: float | None = None, *, eye: int = 0, status: str = "ok", fit: bool = True) -> Decision:
        self.at += 1
        made: Situation = self.situate(self.at, status=status, score=score)
        part = Part(number, made.window.end_ns, self.eyes)
        window = replace(made.window, part=part, tags=(self.eyes[eye],), fit=fit, values=np.zeros((4, 4), np.uint8))
        return self.policy.step(replace(made, window=window))


def wants(decision: Decision) -> Any:
    return decision.proposals[0].value if decision.proposals else None


@pytest.mark.parametrize(
    ("score", "state", "code", "cause"),
    [(0.1, "pass", 0, ""), (0.7, "divert", 1, ""), (0.4, "divert", 1, "unsure")],
)
def test_a_look_with_evidence_gives_a_verdict_with_the_parts_number(situate: Any, score: float, state: str, code: int, cause: str) -> None:
    line = Line(situate)
    decision = line.look(7, score)
    assert (decision.state, wants(decision), decision.unknown) == (state, (7, code), False)
    assert decision.reason.startswith(f"part 7: {state}")
    assert line.policy.status()[state] == 1
    assert not cause or (line.policy.status()[cause] == 1 and f"the safe way ({cause})" in decision.reason)


@pytest.mark.parametrize(
    ("status", "fit", "cause"),
    [("late", True, "late"), ("unknown", False, "unseen"), ("novel", True, "unsure"), ("failed", True, "unsure")],
)
@pytest.mark.parametrize("safe", ["divert", "hold", "pass"])
def test_without_evidence_the_part_goes_the_safe_way_and_nothing_leaves(
    situate: Any, status: str, fit: bool, cause: str, safe: str
) -> None:
    line = Line(situate, safe=safe)
    decision = line.look(7, 0.01, status=status, fit=fit)
    assert (decision.state, decision.proposals, decision.unknown) == (safe, (), True)
    assert line.policy.status()[cause] == 1


def test_a_part_has_one_verdict_however_often_it_is_shown(situate: Any) -> None:
    line = Line(situate)
    assert wants(line.look(7, 0.1)) == (7, 0)
    again = line.look(7, 0.9)
    assert (again.state, again.proposals) == ("looking", ())
    assert "pass already" in again.reason
    assert line.policy.status()["after_verdict"] == 1


def test_one_camera_that_rejects_is_enough_and_all_must_accept(situate: Any) -> None:
    line = Line(situate, cameras=3)
    assert line.look(1, 0.1).state == "looking"
    assert line.look(1, 0.9, eye=2).state == "divert"
    assert [line.look(2, 0.1, eye=e).state for e in (1, 2, 0)] == ["looking", "looking", "pass"]
    assert [line.look(3, s, eye=e).state for e, s in enumerate((0.1, 0.4, 0.1))] == ["looking", "looking", "divert"]
    assert line.policy.status()["unsure"] == 1


def test_the_majority_decides_as_soon_as_there_is_one(situate: Any) -> None:
    line = Line(situate, cameras=3, votes="majority")
    assert [line.look(1, s, eye=e).state for e, s in enumerate((0.1, 0.9, 0.1))] == ["looking", "looking", "pass"]
    assert [line.look(2, s, eye=e).state for e, s in enumerate((0.9, 0.9))] == ["looking", "divert"]
    assert line.look(3, 0.1).state == "looking"
    assert line.look(3, status="late", eye=1).state == "looking"
    assert wants(line.look(3, 0.9, eye=2)) == (3, 1)
    assert line.policy.status()["late"] == 1


def test_parts_that_overlap_are_kept_apart(situate: Any) -> None:
    line = Line(situate, cameras=2)
    line.look(1, 0.1)
    line.look(2, 0.1)
    assert wants(line.look(2, 0.9, eye=1)) == (2, 1)
    assert wants(line.look(1, 0.1, eye=1)) == (1, 0)


def test_a_word_carries_part_and_code_in_one_number(situate: Any) -> None:
    decision = Line(situate, **{"as": "word", "codes": {"pass": 1, "divert": 2, "hold": 3}}).look(7, 0.9)
    assert decision.proposals[0][:3] == ("set", "gate", 7.0 * 4 + 2)


def test_after_a_reset_nothing_is_remembered(situate: Any) -> None:
    line = Line(situate)
    line.look(7, 0.1)
    line.policy.reset()
    assert line.look(7, 0.9).state == "divert"


@pytest.mark.parametrize(
    ("config", "where", "said"),
    [
        ({"output": "pump"}, "output", "not a tag that may be written"),
        ({"accept": "scare < 1"}, "accept", "did you mean 'score'"),
        ({"codes": {"pass": 1, "divert": 1, "hold": 2}}, "codes", "the same code"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_in_words(config: dict[str, Any], where: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said) as refused:
        policy(**config)
    assert refused.value.problems[0][0] == (where,)


LOOKS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2), st.floats(0, 1), st.sampled_from(["ok", "late", "novel", "unknown"])), max_size=60
)


@given(looks=LOOKS, votes=st.sampled_from(["any", "majority"]), safe=st.sampled_from(["divert", "hold", "pass"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_cameras_say_no_part_has_two_verdicts_and_none_passes_on_no_evidence(
    situate: Any, looks: list[tuple[int, int, float, str]], votes: str, safe: str
) -> None:
    line = Line(situate, cameras=3, votes=votes, safe=safe)
    said: list[int] = []
    for number, eye, score, status in looks:
        decision = line.look(number, score, eye=eye, status=status)
        if decision.state != "looking":
            said.append(number)
        for proposal in decision.proposals:
            assert status == "ok"
            assert proposal.value[0] == number  # type: ignore[index]
    assert len(said) == len(set(said))
