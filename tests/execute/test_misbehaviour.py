"""What becomes of a write when the PLC, the operator, the link or the ledger misbehaves? Never a blind retry."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
from execute_rig import TRIM, Rig, rig, trim

from edge_agent.execute.terms import Bounds
from edge_agent.messages import Mode, Proposal

pytestmark = pytest.mark.anyio


async def armed(tmp_path: Path, value: float = -20.0, **options: object) -> Rig:
    """Armed, warm, and with a trim standing."""
    b = rig(tmp_path, **options)  # type: ignore[arg-type]
    await b.arm()
    await b.warm()
    if value:
        await b.until(value, trim(value))
    return b


def endings(b: Rig) -> list[tuple[str, str]]:
    return [(payload["status"], payload["stage"]) for payload in b.ledger.of("outcome")]


async def test_a_plc_that_applies_in_its_next_scan_is_waited_for(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.script.append("scan")
    (outcome,) = await b.turn(trim(-30.0))
    assert outcome.status == "confirmed"
    assert outcome.verify_ms is not None
    assert outcome.verify_ms >= 300


async def test_applied_without_an_answer_is_found_by_reading_back(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.script.append("silent")
    (outcome,) = await b.turn(trim(-30.0))
    assert outcome.status == "confirmed"
    assert "no answer" in outcome.why
    assert b.written.count(-30.0) == 1


async def test_an_answer_that_never_takes_effect_holds_is_looked_at_and_ends_as_refused(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.script.append("ignore")
    (outcome,) = await b.turn(trim(-30.0))
    assert outcome.status == "unknown"
    assert b.modes.mode is Mode.HOLD
    for _ in range(29):
        await b.turn(trim(-30.0))
        assert b.written.count(-30.0) == 1, "never blindly sent again"
    for _ in range(5):
        await b.turn(trim(-30.0))
    assert ("refused", "resolution") in endings(b)
    assert b.modes.mode is Mode.ARMED
    assert not b.ledger.open_intents()
    await b.until(-30.0, trim(-30.0))
    assert b.written.count(-30.0) == 2, "a new intent, a new permit"


async def test_a_write_that_timed_out_and_comes_true_later_is_confirmed_without_sending_it_again(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.script.append("slow")
    await b.turn(trim(-30.0))
    assert b.modes.mode is Mode.HOLD
    for _ in range(10):
        await b.turn(trim(-30.0))
    assert ("confirmed", "resolution") in endings(b)
    assert b.written.count(-30.0) == 1
    assert b.modes.mode is Mode.ARMED


@pytest.mark.parametrize("behaviour", ["clamp", "clamp_as_good"])
async def test_good_clamped_is_not_done(tmp_path: Path, behaviour: str) -> None:
    b = await armed(tmp_path, trim_changes={"verify": {"within": "1 s", "tolerance": 0.5}})
    b.plc.script.append(behaviour)
    (outcome,) = await b.turn(trim(-30.0))
    assert outcome.status == "unknown"
    assert b.modes.mode is Mode.HOLD
    for _ in range(40):
        await b.turn(trim(-30.0))
    assert ("reverted", "resolution") in endings(b)
    assert b.modes.mode is Mode.OBSERVE
    assert b.written.count(-30.0) == 1


async def test_a_plain_refusal_changes_nothing_and_is_tried_again_later_and_later_then_given_up(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.script.extend(["refuse"] * 3)
    tries = []
    for _ in range(40):
        before = len(b.plc.writes)
        await b.turn(trim(-30.0))
        if len(b.plc.writes) > before and b.written[-1] == -30.0:
            tries.append(b.seq)
        if b.modes.mode is Mode.SHED:
            break
    assert [tries[1] - tries[0], tries[2] - tries[1]] == [5, 10]
    await b.until(0.0, trim(-30.0), turns=60)
    await b.turn()
    assert b.modes.mode is Mode.OBSERVE
    assert "BadOutOfRange" in " ".join(payload["reason"] for payload in b.ledger.of("mode"))


@pytest.mark.parametrize("behaviour", ["revert", "fight", "clamp_silently"])
async def test_a_value_that_does_not_stay_is_somebody_elses_now(tmp_path: Path, behaviour: str) -> None:
    b = await armed(tmp_path, trim_changes={"verify": {"within": "1 s", "tolerance": 0.5}})
    b.plc.script.append(behaviour)
    (outcome,) = await b.turn(trim(-30.0))
    assert outcome.status == "reverted"
    await b.turn(trim(-30.0))
    await b.turn(trim(-30.0))
    assert b.modes.mode is Mode.OBSERVE
    assert b.written[-1] == -30.0, "not a single write after it"


async def test_an_operator_who_takes_the_tag_is_never_written_against(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.values["speed"] = -150.0
    writes = len(b.plc.writes)
    for _ in range(10):
        await b.turn(trim(-200.0))
    assert len(b.plc.writes) == writes
    assert b.plc.values["speed"] == -150.0
    assert [payload["to"] for payload in b.ledger.of("mode")][-3:] == ["hold", "shed", "observe"]
    assert b.ledger.of("operator")[-1]["reads"] == -150.0


async def test_an_operator_between_two_ticks_is_noticed_by_the_gate_before_the_write(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.values["speed"] = -150.0
    (outcome,) = await b.turn(trim(-30.0), tick=False)
    assert "operator: reads -150.0" in outcome.why
    assert b.modes.mode is Mode.HOLD


async def test_an_operator_who_moves_the_base_gets_the_trim_withdrawn(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.values["base"] = 2800.0
    for _ in range(6):
        await b.turn(trim(-20.0))
    assert b.plc.values["speed"] == 0.0
    assert b.modes.mode is Mode.OBSERVE


async def test_another_writer_who_comes_back_again_and_again_locks_the_loop_out(tmp_path: Path) -> None:
    b = rig(tmp_path)
    for round_ in range(3):
        await b.arm()
        await b.warm()
        b.plc.values["speed"] = -100.0 - round_ * 10
        for _ in range(4):
            await b.turn()
    assert b.modes.mode is Mode.LOCKOUT
    assert (await b.executor.arm(by="ann", reason="x", for_s=9.0))[0].guard == "mode"
    assert await b.executor.reset(by="ann", reason="found it") is None
    await b.arm()


async def test_a_newer_agent_locks_this_one_out_in_the_next_tick(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.health["newest_epoch"] = 4
    writes = len(b.plc.writes)
    await b.turn(trim(-50.0))
    assert b.modes.mode is Mode.LOCKOUT
    assert len(b.plc.writes) == writes


async def test_somebody_else_counting_on_the_lease_locks_out(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    for strange in (9001, 9002, 9003):
        b.plc.values["lease"] = strange
        await b.turn(trim(-20.0))
    assert b.modes.mode is Mode.LOCKOUT


async def test_a_plc_that_restarts_and_forgets_the_trim_is_taken_for_an_operator(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.values["speed"], b.plc.values["lease"] = 0.0, 0
    for _ in range(4):
        await b.turn(trim(-20.0))
    assert b.modes.mode is Mode.OBSERVE


async def test_a_plc_that_takes_the_trim_back_again_and_again_is_no_other_writer(tmp_path: Path) -> None:
    b = rig(tmp_path)
    for _ in range(4):
        await b.arm()
        await b.warm()
        await b.until(-20.0, trim(-20.0))
        b.plc.values["speed"] = 0.0
        for _ in range(4):
            await b.turn(trim(-20.0))
    assert b.modes.mode is Mode.OBSERVE


async def test_a_link_that_dies_in_mid_write_leaves_an_open_outcome_that_is_settled_when_it_is_back(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.script.append("vanish")
    (outcome,) = await b.turn(trim(-30.0))
    assert outcome.status == "unknown"
    for _ in range(20):
        await b.turn(trim(-30.0), fit=False)
    assert len(b.ledger.open_intents()) == 1
    b.plc.deaf = False
    b.executor.reconnected()
    for _ in range(6):
        await b.turn(trim(-30.0))
    assert not b.ledger.open_intents()
    assert b.written.count(-30.0) == 1
    assert b.modes.mode is Mode.ARMED


async def test_a_tag_that_was_deleted_is_not_written(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    del b.plc.values["speed"], b.plc.contracts["speed"]
    b.executor.reconnected(["speed"])
    writes = len(b.plc.writes)
    (outcome,) = await b.turn(trim(-50.0))
    assert "contract" in outcome.why
    assert len(b.plc.writes) == writes


async def test_a_range_that_changed_over_a_reconnect_stops_wishes_but_not_the_way_back(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.plc.contracts["speed"] = replace(b.plc.contracts["speed"], low=-350.0)
    b.executor.reconnected(["speed"])
    await b.turn(trim(-20.0))
    (outcome,) = await b.turn(trim(-50.0))
    assert outcome.why.startswith("contract: access or range was True -400.0")
    await b.until(0.0)


async def test_a_ledger_that_cannot_be_written_stops_writing_and_holds(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.ledger.broken = True
    writes = len(b.plc.writes)
    for _ in range(5):
        await b.turn(trim(-50.0))
    assert len(b.plc.writes) == writes
    assert b.modes.mode is Mode.HOLD
    b.ledger.broken = False
    await b.until(-50.0, trim(-50.0))
    assert b.executor.status()["owed_records"] == 0
    assert [payload["to"] for payload in b.ledger.of("mode")] == ["armed", "hold", "armed"]


async def test_a_ledger_that_fails_between_its_last_word_and_the_intent_lets_nothing_out(tmp_path: Path) -> None:
    b = await armed(tmp_path)
    b.ledger.broken = True
    b.ledger.__class__ = type("Liar", (type(b.ledger),), {"healthy": True})
    (outcome, *_) = await b.turn(trim(-50.0), tick=False)
    assert outcome.status == "refused"
    assert b.written[-1] == -20.0
    assert b.modes.mode is Mode.HOLD


@pytest.mark.parametrize(("behaviour", "error"), [("crash", ZeroDivisionError), ("cancel", asyncio.CancelledError)])
async def test_a_crash_or_cancellation_in_mid_write_is_put_on_record_as_unknown_and_looked_at_later(
    tmp_path: Path, behaviour: str, error: type[BaseException]
) -> None:
    b = await armed(tmp_path)
    b.plc.script.append(behaviour)
    with pytest.raises(error):
        await b.turn(trim(-30.0))
    assert endings(b)[-1] == ("unknown", "write")
    for _ in range(35):
        await b.turn(trim(-30.0))
    assert not b.ledger.open_intents()
    assert b.written.count(-30.0) == (1 if behaviour == "cancel" else 2)


async def test_a_process_that_answers_confirms_and_one_that_does_not_gets_its_trim_back(tmp_path: Path) -> None:
    response = {"tag": "flow", "direction": "down", "by": 2.0, "within": "20 s"}
    b = await armed(tmp_path, trim_changes={"response": response})
    b.plc.values["flow"] = 37.0
    await b.turn(trim(-20.0))
    assert endings(b)[-1] == ("confirmed", "response")
    await b.until(0.0)
    await b.until(-20.0, trim(-20.0))
    for _ in range(21):
        await b.turn(trim(-20.0))
    assert endings(b)[-4:].count(("no_response", "response")) == 1
    for _ in range(2):
        await b.turn(trim(-20.0))
    assert b.plc.values["speed"] > -20.0, "a trim without effect is withdrawn"


async def test_the_response_is_waited_for_while_the_loop_turns_on(tmp_path: Path) -> None:
    response = {"tag": "flow", "direction": "down", "by": 2.0, "within": "20 s"}
    b = await armed(tmp_path, value=0.0, trim_changes={"response": response})
    started = b.clock.mono_ns()
    await b.turn(trim(-10.0))
    await b.turn(trim(-10.0))
    assert b.plc.values["speed"] == -10.0
    assert (b.clock.mono_ns() - started) / 1e9 < 3


async def test_a_call_without_an_answer_stays_unknown_and_a_person_has_to_look(tmp_path: Path) -> None:
    b = await armed(tmp_path, value=0.0, writes={"pulse": {"values": [1]}})
    b.plc.script.append("silent")
    await b.turn(Proposal("call", "pulse", (1,), "clean"))
    for _ in range(35):
        await b.turn(Proposal("call", "pulse", (1,), "clean"))
    assert len(b.plc.calls) == 1
    assert endings(b)[-1][0] in ("unknown", "refused")
    assert b.modes.mode is Mode.OBSERVE


async def test_two_loops_on_one_device_write_one_after_the_other(tmp_path: Path) -> None:
    first = await armed(tmp_path)
    lock = first.executor._steps._assets.lock(first.plc)
    async with lock:
        task = asyncio.ensure_future(first.turn(trim(-30.0)))
        for _ in range(50):
            await asyncio.sleep(0)
        assert first.written[-1] == -20.0
    await task
    assert first.written[-1] == -30.0


async def wander(tmp_path: Path, seed: int, steps: int) -> Rig:
    """Random wishes, faults, operators, restarts and clocks; the PLC checks each write as it comes."""
    rng = random.Random(seed)
    b = rig(
        tmp_path,
        trim_changes={**TRIM, "budget": {"change": 2000.0, "per": "1 h"}, "verify": {"within": "1 s"}},
        bounds=Bounds(settle_s=8.0, longest_hold_s=20.0),
    )
    behaviours = ["obey"] * 30 + ["scan", "silent", "slow", "ignore", "refuse", "clamp", "clamp_as_good", "revert", "fight", "vanish"]
    wishes: tuple[Proposal, ...] = ()
    for _ in range(steps):
        b.plc.script.clear()
        b.plc.script.append(rng.choice(behaviours))
        if rng.random() < 0.05:
            value = rng.choice((-200.0, -50.0, 0.0, 50.0, 300.0, 310.0, 1e9, float("nan"), float("inf"), 33.3))
            wishes = rng.choice(((), (trim(value),), (Proposal("set", "speed", value, "odd"),), (trim(value, "lease"),)))
        shake(b, rng)
        if b.modes.mode is Mode.LOCKOUT and rng.random() < 0.2:
            await b.executor.reset(by="ann", reason="looked")
        if b.modes.mode is Mode.OBSERVE and rng.random() < 0.3:
            await b.executor.arm(by="ann", reason="again", for_s=rng.choice((5.0, 500.0)))
        await b.turn(*wishes, fit=rng.random() > 0.01, pass_s=rng.choice((0.1, 1.0, 1.0, 3.0)))
    return b


def shake(b: Rig, rng: random.Random) -> None:
    """Something happens in the plant, rarely."""
    if rng.random() < 0.05:
        b.plc.deaf, b.ledger.broken = False, False
        b.plc.values |= {"running": True}
        b.stop_file.unlink(missing_ok=True)
        b.executor.reconnected()
    event = rng.random()
    if event < 0.003:
        b.plc.values["speed"] = rng.choice((0.0, -77.0, 123.0))
    elif event < 0.006:
        b.plc.values["running"] = rng.choice((False, None, "on"))
    elif event < 0.008:
        b.plc.values["base"] += 1.0
    elif event < 0.010:
        b.ledger.broken = True
    elif event < 0.012:
        b.stop_file.touch()


def in_envelope(b: Rig) -> None:
    """Every write that ever left: inside the limits, on the grid, a step at most, never two within a second, on record."""
    intents = b.ledger.of("intent")
    assert all(tag == "speed" and type(value) is float and -300.0 <= value <= 300.0 and value % 10.0 == 0.0 for tag, value in b.plc.writes)
    assert all(abs(intent["value"] - intent["before"]) <= 10.0 + 1e-6 or intent["before"] % 10.0 for intent in intents)
    assert len(intents) >= len(b.plc.writes)
    ended = {payload["intent"] for payload in b.ledger.of("outcome")}
    open_now = {seq for seq, (kind, _) in enumerate(b.ledger.records) if kind == "intent"} - ended
    assert len(open_now) <= b.executor.status()["owed_records"]


async def test_a_long_random_run_stays_inside_the_envelope(tmp_path: Path) -> None:
    b = await wander(tmp_path, 1, 2_000)
    in_envelope(b)
    assert len(b.plc.writes) > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_random_steps_stay_inside_the_envelope(tmp_path: Path) -> None:
    b = await wander(tmp_path, 2, 100_000)
    in_envelope(b)
    assert len(b.plc.writes) > 5_000
