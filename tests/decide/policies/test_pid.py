"""Policy pid: it controls a plant, takes over without a bump, does not wind up, and holds over gaps."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.decide.assembly import PolicyError
from edge_agent.decide.policies import pid
from edge_agent.messages import Reading


def policy(**config: Any) -> pid.Policy:
    given = {"policy": "pid", "tag": "valve", "measured": "flow", "setpoint": 30.0, "kp": 1.0, "ki": 0.5, "limits": [0.0, 100.0], **config}
    return pid.Policy(pid.Config.model_validate(given), loop="p1", tags=["flow", "wanted", "valve"], writable=["valve"])


class Plant:
    """A first-order lag: flow follows the valve x gain. The valve takes what it is told, up to `reach`."""

    def __init__(self, situate: Any, *, valve: float = 20.0, gain: float = 1.0, reach: float = 1e9) -> None:
        self.situate, self.valve, self.gain, self.reach = situate, valve, gain, reach
        self.flow, self.at = valve * gain, 0.0

    def turn(self, made: pid.Policy, *, armed: bool = True, dt: float = 1.0, **more: Any) -> Any:
        more.setdefault("tags", {"flow": self.flow, "wanted": 30.0})
        decision = made.step(self.situate(self.at, armed=armed, applied={"valve": self.valve}, **more))
        if armed and not decision.unknown:
            self.valve = min(decision.proposals[0].value, self.reach)
        self.at += dt
        self.flow += (self.valve * self.gain - self.flow) * dt / (3.0 + dt)
        return decision


def test_it_brings_the_measured_value_to_its_setpoint(situate: Any) -> None:
    made, plant = policy(), Plant(situate)
    for _ in range(60):
        plant.turn(made)
    assert plant.flow == pytest.approx(30.0, abs=0.05)


def test_direct_action_turns_the_sign(situate: Any) -> None:
    made, plant = policy(action="direct", limits=[-100.0, 100.0]), Plant(situate, valve=-20.0, gain=-1.0)
    for _ in range(60):
        plant.turn(made)
    assert plant.flow == pytest.approx(30.0, abs=0.05)


def test_while_not_armed_it_wants_what_the_plant_holds(situate: Any) -> None:
    made, plant = policy(), Plant(situate)
    for plant.valve in (20.0, 25.0, 22.0):
        decision = plant.turn(made, armed=False)
        assert (decision.proposals[0].value, decision.state) == (plant.valve, "tracking")


def test_arming_moves_nothing(situate: Any) -> None:
    made, plant = policy(kp=50.0, kd=5.0), Plant(situate, valve=21.0)
    plant.turn(made, armed=False)
    first = plant.turn(made)
    assert (first.proposals[0].value, first.state) == (21.0, "controlling")
    second = plant.turn(made)
    assert second.proposals[0].value == pytest.approx(21.0 + 0.5 * 9.0)  # one window's sum, no jump by kp


def test_being_armed_from_the_start_moves_nothing_either(situate: Any) -> None:
    assert Plant(situate, valve=21.0).turn(policy(kp=50.0)).proposals[0].value == 21.0


def test_a_new_setpoint_makes_no_jump(situate: Any) -> None:
    made, plant = policy(setpoint="wanted", kp=10.0, ki=0.1), Plant(situate, valve=30.0)
    for _ in range(3):
        plant.turn(made)
    decision = plant.turn(made, tags={"flow": plant.flow, "wanted": 40.0})
    assert decision.proposals[0].value == pytest.approx(30.0 + 0.1 * 10.0)


def test_the_sum_does_not_grow_into_a_limit(situate: Any) -> None:
    made = policy(limits=[0.0, 25.0], ki=0.5)
    plant = Plant(situate)
    for _ in range(100):
        plant.turn(made)
    assert plant.valve == 25.0  # the setpoint is out of reach
    low = plant.turn(made, tags={"flow": 31.0})
    assert low.proposals[0].value < 25.0  # it leaves the limit at once
    made, plant = policy(limits=[22.0, 90.0], setpoint=5.0), Plant(situate, valve=40.0)
    for _ in range(100):
        plant.turn(made)
    assert plant.valve == 22.0


def test_where_the_plant_does_not_take_the_wish_the_sum_follows_what_it_took(situate: Any) -> None:
    made, plant = policy(), Plant(situate, reach=25.0)
    wishes = [plant.turn(made).proposals[0].value for _ in range(200)]
    assert max(wishes) < 45.0  # without back-calculation: the limit of 100
    plant.reach = 1e9
    for _ in range(60):
        plant.turn(made)
    assert plant.flow == pytest.approx(30.0, abs=0.05)


def test_a_gap_holds_the_output(situate: Any) -> None:
    made, plant = policy(longest="5 s", kd=1.0), Plant(situate)
    for _ in range(4):
        plant.turn(made)
    before, plant.at = plant.valve, plant.at + 600.0
    plant.flow = 5.0
    assert plant.turn(made).proposals[0].value == before
    plant.flow = 5.0
    assert plant.turn(made).proposals[0].value == pytest.approx(before + 0.5 * 25.0)


def test_time_that_stands_still_or_runs_backwards_moves_nothing(situate: Any) -> None:
    made, plant = policy(), Plant(situate)
    plant.turn(made, dt=0.0)
    assert plant.turn(made, dt=-100.0).proposals[0].value == 20.0
    assert plant.turn(made).proposals[0].value == 20.0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"status": "late"}, "the diagnosis is late"),
        ({"tags": {"flow": Reading(1.0, 4, 0, 9.0)}}, "flow unknown is unknown"),
    ],
)
def test_without_evidence_the_output_holds_and_nothing_is_summed_up(situate: Any, more: Any, words: str) -> None:
    made, plant = policy(), Plant(situate)
    for _ in range(3):
        plant.turn(made)
    before = plant.valve
    for _ in range(5):
        decision = plant.turn(made, **more)
        assert (decision.proposals[0].value, decision.unknown, decision.state) == (before, True, "holding")
        assert words in decision.reason
    assert plant.turn(made).proposals[0].value == before  # begins anew where it was


def test_an_unknown_position_is_not_taken_over(situate: Any) -> None:
    decision = policy().step(situate(0, tags={"flow": 20.0}))
    assert (decision.proposals, decision.unknown) == ((), True)
    assert decision.reason == "output holds: what valve holds is unknown"


def test_the_tag_itself_shows_its_position_where_nothing_was_written_yet(situate: Any) -> None:
    decision = policy().step(situate(0, tags={"flow": 20.0, "valve": 33.0}, applied={"valve": None}))
    assert decision.proposals[0].value == 33.0
    assert decision.reason == "valve should be 33: flow 20, setpoint 30.0"


def test_an_armed_loop_goes_on_when_the_position_gets_lost(situate: Any) -> None:
    made, plant = policy(), Plant(situate)
    plant.turn(made)
    decision = made.step(situate(1, tags={"flow": 20.0}))
    assert decision.proposals[0].value == pytest.approx(25.0)


def test_small_moves_of_the_output_are_no_new_wish(situate: Any) -> None:
    made = policy(dead_band=6.0)
    wishes = [made.step(situate(t, tags={"flow": 20.0}, applied={"valve": 20.0})).proposals[0].value for t in range(3)]
    assert wishes == [20.0, 20.0, 30.0]


def test_the_rise_of_the_measured_value_is_damped_and_filtered(situate: Any) -> None:
    def second(**config: Any) -> float:
        made = policy(kp=0.0, ki=1e-9, kd=2.0, **config)
        return [made.step(situate(t, tags={"flow": 20.0 + 4.0 * t}, applied={"valve": 50.0})).proposals[0].value for t in range(2)][1]

    assert second() == pytest.approx(42.0)
    assert second(filter="3 s") == pytest.approx(48.0)
    assert second(action="direct") == pytest.approx(58.0)


def test_absurd_values_hold_the_output(situate: Any) -> None:
    made = policy(kp=1e300)
    wishes = [
        made.step(situate(t, tags={"flow": f}, applied={"valve": 20.0})).proposals[0].value
        for t, f in enumerate([20, 1e300, -1e300, 20, 20])
    ]
    assert wishes[:2] == [20.0, 20.0]
    assert all(0.0 <= wish <= 100.0 for wish in wishes)


def test_it_is_deterministic_and_reset_forgets(situate: Any) -> None:
    def story(made: pid.Policy) -> list[Any]:
        plant = Plant(situate)
        return [plant.turn(made, armed=n > 2) for n in range(20)]

    made = policy(kd=0.3, filter="2 s")
    first = story(made)
    made.reset()
    assert story(made) == first == story(policy(kd=0.3, filter="2 s"))
    assert made.writes == {"valve"}


def test_a_senseless_config_is_refused() -> None:
    with pytest.raises(ValidationError, match="must rise"):
        policy(limits=[5.0, 5.0])
    with pytest.raises(ValidationError, match="greater than 0"):
        policy(ki=0.0)
    with pytest.raises(PolicyError) as caught:
        policy(measured="flwo", setpoint="wantd", tag="flow")
    assert [path for path, _ in caught.value.problems] == [("tag",), ("measured",), ("setpoint",)]
    config = {"policy": "pid", "tag": "v", "measured": "flow", "kp": 1.0, "ki": 1.0, "limits": [0.0, 1.0]}
    assert pid.expressions(pid.Config.model_validate(config | {"setpoint": 3})) == [(("measured",), "flow")]
    assert pid.expressions(pid.Config.model_validate(config | {"setpoint": "a"})) == [(("measured",), "flow"), (("setpoint",), "a")]
