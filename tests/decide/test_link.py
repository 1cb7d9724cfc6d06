"""The link numbers decisions and hands the rest to the policy."""

from typing import Any

from edge_agent.decide.link import Decider
from edge_agent.decide.policies import rules

CONFIG = rules.Config.model_validate(
    {"policy": "rules", "states": {"a": [{"when": "true", "go": "b"}], "b": []}, "actions": {"b": {"trim": {"v": 1.0}}}}
)


def test_decisions_are_dense_and_their_numbers_survive_a_reset(situate: Any) -> None:
    decider = Decider(rules.Policy(CONFIG, loop="other", tags=["v"], writable=["v"]), "p1")
    first, second = decider.decide(situate(70)), decider.decide(situate(71))
    decider.reset()
    third = decider.decide(situate(72))
    assert [d.seq for d in (first, second, third)] == [1, 2, 3]
    assert [d.previous for d in (first, second, third)] == ["a", "b", "a"]
    assert {d.loop for d in (first, second, third)} == {"p1"}
    assert decider.writes == {"v"}
