"""One loop's writes, from wish to neutral, on a PLC that obeys."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from execute_rig import GATE, rig, trim

from edge_agent.execute.terms import Bounds
from edge_agent.messages import Mode, Proposal

pytestmark = pytest.mark.anyio


async def test_a_wish_becomes_permitted_steps_and_never_overshoots(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-50.0, trim(-50.0))
    assert b.written == [-10.0, -20.0, -30.0, -40.0, -50.0]
    assert b.executor.applied == {"speed": -50.0}
    assert not b.ledger.open_intents()


async def test_a_standing_wish_that_is_held_writes_nothing(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-20.0))
    records = len(b.ledger.records)
    for _ in range(20):
        assert await b.turn(trim(-20.0)) == ()
    assert len(b.written) == 2
    assert len(b.ledger.records) == records


async def test_a_trim_that_nobody_wants_any_more_goes_back_at_the_same_rate(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-30.0, trim(-30.0))
    await b.until(0.0)
    assert b.written == [-10.0, -20.0, -30.0, -20.0, -10.0, 0.0]
    assert [intent["purpose"] for intent in b.ledger.of("intent")] == ["act"] * 3 + ["return"] * 3


async def test_a_trim_that_an_earlier_run_left_goes_back(tmp_path: Path) -> None:
    b = rig(tmp_path, left={"speed": -30.0})
    b.plc.values["speed"] = -30.0
    await b.arm()
    await b.warm()
    await b.until(0.0)
    assert b.written == [-20.0, -10.0, 0.0]


async def test_what_an_operator_set_since_the_earlier_run_is_left_alone(tmp_path: Path) -> None:
    b = rig(tmp_path, left={"speed": -30.0})
    b.plc.values["speed"] = -20.0
    await b.arm()
    await b.warm()
    for _ in range(10):
        await b.turn()
    assert b.written == []


async def test_the_rate_is_kept(tmp_path: Path) -> None:
    b = rig(tmp_path, trim_changes={"rate": "50/min"})
    await b.arm()
    await b.warm()
    times = []
    for _ in range(60):
        before = len(b.written)
        await b.turn(trim(-200.0))
        if len(b.written) > before:
            times.append(b.seq)
    assert [later - earlier for earlier, later in pairwise(times)] == [12, 12, 12, 12]


async def test_until_the_next_step_is_due_nothing_is_asked_of_the_plant_and_nothing_recorded(tmp_path: Path) -> None:
    b = rig(tmp_path, trim_changes={"rate": "200/min", "min_interval": "6 s"})
    await b.arm()
    await b.warm()
    for _ in range(40):
        await b.turn(trim(-100.0))
    assert b.written == [-20.0, -40.0, -60.0, -80.0, -100.0], "whole steps: what the rate gives in the interval"
    assert not [payload for payload in b.ledger.of("outcome") if payload["stage"] == "gate" and "rate" in payload["why"]]


@pytest.mark.parametrize("highest", [Mode.OBSERVE, Mode.ADVISE])
async def test_a_loop_that_is_not_armed_says_what_it_would_have_done_and_records_it_once(tmp_path: Path, highest: Mode) -> None:
    b = rig(tmp_path, highest=highest)
    await b.executor.pre_arm()
    await b.warm()
    for _ in range(10):
        (outcome,) = await b.turn(trim(-200.0))
        assert (outcome.status, outcome.intent, outcome.value) == ("refused", None, -10.0)
        assert outcome.why.startswith("mode: the loop is in observe")
    refusals = [payload for payload in b.ledger.of("outcome") if payload["stage"] == "gate"]
    assert len(refusals) == 2, "once while the wish was young, once when only the mode was in the way"
    assert [row[0] for row in refusals[-1]["findings"] if not row[1]] == ["mode"]
    assert b.plc.writes == []
    assert b.plc.beats == []


async def test_every_intent_carries_what_every_guard_said(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-10.0, trim(-10.0))
    (intent,) = b.ledger.of("intent")
    assert len(intent["findings"]) == 14
    assert intent["target"] == -10.0
    assert intent["model"] == "pump@1"
    (outcome,) = b.ledger.of("outcome")[-1:]
    assert outcome["status"] == "confirmed"
    assert outcome["write_ms"] is not None


@pytest.mark.parametrize("wish", [-310.0, float("nan"), float("inf"), "fast", True])
async def test_a_wish_outside_the_limits_is_refused_not_clamped(tmp_path: Path, wish: object) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    for _ in range(5):
        outcomes = await b.turn(trim(wish))  # type: ignore[arg-type]
        assert [outcome.status for outcome in outcomes] == ["refused"]
    assert b.plc.writes == []
    assert b.modes.mode is Mode.ARMED


async def test_bad_inputs_hold_the_trim_and_good_ones_release_the_loop_after_three(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-50.0))
    await b.turn(trim(-50.0), fit=False)
    assert b.modes.mode is Mode.HOLD
    assert b.plc.values["speed"] == -20.0
    modes = []
    for _ in range(3):
        await b.turn(trim(-50.0))
        modes.append(b.modes.mode)
    assert modes == [Mode.HOLD, Mode.HOLD, Mode.ARMED]
    await b.until(-50.0, trim(-50.0))


@pytest.mark.parametrize("change", [{"status": "novel"}, {"status": "late"}, {"unknown": True}])
async def test_a_diagnosis_that_is_no_evidence_and_a_decision_that_is_unknown_hold(tmp_path: Path, change: dict[str, object]) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-50.0))
    await b.turn(**change)  # type: ignore[arg-type]
    assert b.modes.mode is Mode.HOLD
    assert b.plc.values["speed"] == -20.0


async def test_a_hold_that_lasts_becomes_shed_and_ends_in_observe(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-20.0))
    for _ in range(310):
        await b.turn(fit=False)
    assert b.plc.values["speed"] == 0.0
    assert b.modes.mode is Mode.OBSERVE
    assert [payload["to"] for payload in b.ledger.of("mode")] == ["armed", "hold", "shed", "observe"]


async def test_no_window_at_all_holds_too(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    b.clock.advance(11.0)
    await b.executor.tick()
    assert b.modes.mode is Mode.HOLD


async def test_a_loop_whose_windows_follow_parts_may_wait(tmp_path: Path) -> None:
    b = rig(tmp_path, bounds=Bounds(starved_s=None))
    await b.arm()
    await b.warm()
    b.clock.advance(1000.0)
    await b.executor.tick()
    assert b.modes.mode is Mode.ARMED


async def test_arming_runs_out_and_the_trim_goes_back(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm(for_s=10.0)
    await b.warm()
    for _ in range(20):
        await b.turn(trim(-200.0))
    assert b.plc.values["speed"] == 0.0
    assert b.modes.mode is Mode.OBSERVE


async def test_disarming_sheds_first(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-20.0))
    assert await b.executor.lower(Mode.ADVISE, by="ann", reason="enough") is None
    assert b.modes.mode is Mode.SHED
    await b.until(0.0)
    await b.turn()
    assert b.modes.mode is Mode.ADVISE


async def test_the_stop_file_stops_writing_in_the_same_tick_heartbeat_included(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-200.0))
    b.stop_file.touch()
    writes, beats = len(b.plc.writes), len(b.plc.beats)
    await b.turn(trim(-200.0))
    for _ in range(5):
        await b.turn(trim(-200.0))
    assert (len(b.plc.writes), len(b.plc.beats)) == (writes, beats)
    assert b.modes.mode is Mode.OBSERVE
    findings = await b.executor.arm(by="ann", reason="again", for_s=60.0)
    assert any("stop file" in finding.why for finding in findings)


async def test_shed_ramps_back_before_the_agent_leaves(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-50.0, trim(-50.0))
    assert await b.executor.shed("SIGTERM")
    assert b.written[-5:] == [-40.0, -30.0, -20.0, -10.0, 0.0]
    assert b.modes.mode is Mode.OBSERVE


async def test_shed_gives_up_after_its_time_and_says_so(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-50.0, trim(-50.0))
    b.plc.values["running"] = False
    assert not await b.executor.shed("SIGTERM", timeout_s=5.0)
    assert b.plc.values["speed"] == -50.0


async def test_while_the_way_back_is_blocked_the_heartbeat_stops_and_in_the_end_a_person_has_to_look(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-50.0, trim(-50.0))
    b.plc.values["running"] = False
    await b.executor.change("shed", reason="test")
    await b.turn()
    beats = len(b.plc.beats)
    for _ in range(310):
        await b.turn()
    assert len(b.plc.beats) == beats
    assert b.modes.mode is Mode.LOCKOUT
    assert await b.executor.reset(by="ann", reason="looked") is None
    assert b.modes.mode is Mode.OBSERVE


async def test_a_standing_trim_whose_interlock_goes_false_loses_its_heartbeat(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-20.0))
    b.plc.values["running"] = False
    beats, writes = len(b.plc.beats), len(b.plc.writes)
    for _ in range(3):
        await b.turn(trim(-50.0))
    assert (len(b.plc.beats), len(b.plc.writes)) == (beats, writes)
    b.plc.values["running"] = True
    await b.until(-50.0, trim(-50.0))
    assert len(b.plc.beats) > beats


async def test_an_unknown_interlock_does_not_hinder_the_way_back(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.arm()
    await b.warm()
    await b.until(-20.0, trim(-20.0))
    del b.plc.values["running"]
    outcomes = await b.turn(trim(-30.0))
    assert "interlocks: running is not known" in outcomes[0].why
    await b.until(0.0)


async def test_the_heartbeat_counts_on_while_active_and_only_then(tmp_path: Path) -> None:
    b = rig(tmp_path)
    await b.turn()
    assert b.plc.beats == []
    await b.arm()
    await b.warm()
    assert b.plc.beats == [1, 2, 3]
    await b.executor.stop(by="ann", reason="enough")
    await b.turn()
    assert b.plc.beats == [1, 2, 3]


async def test_a_switch_is_set_once_and_only_to_listed_values(tmp_path: Path) -> None:
    b = rig(tmp_path, writes={"reject": GATE})
    await b.arm()
    await b.warm()
    await b.turn(Proposal("set", "reject", True, "bad part"))
    await b.turn(Proposal("set", "reject", True, "bad part"))
    assert b.plc.writes == [("reject", True)]
    (outcome,) = await b.turn(Proposal("set", "reject", 1, "bad part"))
    assert outcome.status == "refused"


async def test_a_call_acts_once_until_its_wish_goes_away(tmp_path: Path) -> None:
    b = rig(tmp_path, writes={"pulse": {"values": [1, 2]}})
    await b.arm()
    await b.warm()
    for _ in range(3):
        await b.turn(Proposal("call", "pulse", (1, 2), "clean"))
    await b.turn()
    await b.turn(Proposal("call", "pulse", (1, 2), "clean"))
    assert b.plc.calls == [("pulse", (1, 2))] * 2
    (outcome,) = await b.turn(Proposal("call", "pulse", (1, 3), "clean"))
    assert "limits" in outcome.why


async def test_tier_two_waits_for_a_persons_yes_to_each_value(tmp_path: Path) -> None:
    b = rig(tmp_path, tier=2)
    await b.arm()
    await b.warm()
    for _ in range(3):
        await b.turn(trim(-20.0))
    assert b.plc.writes == []
    assert b.executor.status()["tags"]["speed"]["waits_for_approval"] == -10.0
    b.modes.approve("speed", -10.0, b.clock.mono_ns(), by="ann")
    for _ in range(3):
        await b.turn(trim(-20.0))
    assert b.written == [-10.0], "a yes is used once"


async def test_tier_zero_and_a_model_without_leave_cannot_be_armed(tmp_path: Path) -> None:
    assert (await rig(tmp_path, tier=0).executor.arm(by="ann", reason="x", for_s=9.0))[0].guard == "mode"
    findings = await rig(tmp_path, model={"tier": 0}).executor.arm(by="ann", reason="x", for_s=9.0)
    assert [finding.guard for finding in findings] == ["speed: model"]


@pytest.mark.parametrize(
    ("spec", "value", "guard"),
    [({"write": False}, 0.0, "speed: whitelist"), ({"safety": True}, 0.0, "speed: whitelist"), ({"unit": "%"}, 0.0, "speed: contract")],
)
async def test_pre_arm_refuses_what_could_never_be_written(tmp_path: Path, spec: dict[str, object], value: float, guard: str) -> None:
    b = rig(tmp_path, spec=spec)
    assert guard in [finding.guard for finding in await b.executor.arm(by="ann", reason="x", for_s=9.0)]
    assert b.modes.mode is Mode.OBSERVE


async def test_pre_arm_says_everything_that_is_in_the_way_at_once(tmp_path: Path) -> None:
    b = rig(tmp_path)
    b.plc.values["running"] = False
    b.health["clock_stepped"] = True
    del b.plc.contracts["lease"]
    guards = {finding.guard for finding in await b.executor.arm(by="ann", reason="x", for_s=9.0)}
    assert guards == {"speed: interlocks", "speed: self", "lease: lease"}


async def test_a_limit_beyond_the_servers_is_found_before_arming(tmp_path: Path) -> None:
    b = rig(tmp_path, trim_changes={"limits": (-500.0, 300.0)})
    (finding,) = await b.executor.arm(by="ann", reason="x", for_s=9.0)
    assert finding.guard == "speed: contract"
    assert "-400.0" in finding.why


async def test_a_loop_that_is_off_does_nothing(tmp_path: Path) -> None:
    b = rig(tmp_path, highest=Mode.OFF)
    assert await b.turn(trim(-10.0)) == ()


async def test_it_rearms_by_itself_only_where_that_is_allowed(tmp_path: Path) -> None:
    b = rig(tmp_path, rearm="auto")
    assert await b.executor.arm(by="agent", reason="restart", for_s=60.0, event="rearm") == ()
    assert b.modes.mode is Mode.ARMED
    (finding,) = await rig(tmp_path).executor.arm(by="agent", reason="restart", for_s=60.0, event="rearm")
    assert finding.guard == "mode"
