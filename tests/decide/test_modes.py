"""The modes of a loop: who may raise it, what takes it down, and that nothing else does."""

from __future__ import annotations

import random
from typing import Any, get_args

import pytest

from edge_agent.decide.modes import Event, Modes
from edge_agent.messages import Mode

S = 1_000_000_000


def made(highest: Mode = Mode.ARMED, tier: int = 1, **options: Any) -> Modes:
    return Modes(loop="p1", highest=highest, tier=tier, **options)


def armed(for_s: float = 100.0, **options: Any) -> Modes:
    modes = made(**options)
    assert modes.apply("raise", 0, to=Mode.ARMED, reason="test", by="ann", for_s=for_s) is not None
    return modes


@pytest.mark.parametrize(("highest", "start"), [(Mode.OFF, Mode.OFF), (Mode.OBSERVE, Mode.OBSERVE), (Mode.ARMED, Mode.OBSERVE)])
def test_after_a_start_a_loop_observes_at_most(highest: Mode, start: Mode) -> None:
    assert made(highest).mode is start


def test_a_transition_says_from_where_to_where_why_by_whom_and_until_when() -> None:
    modes = made()
    change = modes.apply("raise", 5, to=Mode.ARMED, reason="trial", by="ann", for_s=60.0)
    assert change is not None
    assert change.payload() == {
        "from": "observe", "to": "armed", "event": "raise", "reason": "trial", "by": "ann", "until_mono_ns": 5 + 60 * S,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "asked", "word"),
    [
        ({"highest": Mode.ADVISE}, {"to": Mode.ARMED, "reason": "x", "for_s": 9.0}, "advise at most"),
        ({"tier": 0}, {"to": Mode.ARMED, "reason": "x", "for_s": 9.0}, "tier 0 never writes"),
        ({}, {"to": Mode.ARMED, "reason": " ", "for_s": 9.0}, "needs a reason"),
        ({}, {"to": Mode.ARMED, "reason": "x"}, "needs a duration"),
        ({}, {"to": Mode.ARMED, "reason": "x", "for_s": 0.0}, "needs a duration"),
        ({}, {"to": Mode.ARMED, "reason": "x", "for_s": 1e9}, "needs a duration"),
        ({}, {"to": Mode.ARMED, "reason": "x", "for_s": float("nan")}, "needs a duration"),
        ({}, {"to": Mode.SHED, "reason": "x"}, "cannot be asked for"),
        ({"locked": "rival"}, {"to": Mode.OBSERVE, "reason": "x"}, "locked out"),
    ],
)
def test_what_a_person_may_not_do_is_said_and_changes_nothing(options: dict[str, Any], asked: dict[str, Any], word: str) -> None:
    modes = made(**options)
    before = modes.mode
    assert word in (modes.refusal("raise", **asked) or "")
    assert modes.apply("raise", 0, **asked) is None
    assert modes.mode is before


def test_arming_runs_out_by_itself_and_sheds_before_it_observes() -> None:
    modes = armed(for_s=10.0)
    assert modes.apply("tick", 10 * S - 1) is None
    assert modes.apply("tick", 10 * S) is not None
    assert modes.mode is Mode.SHED
    modes.apply("shed_done", 11 * S)
    assert modes.mode is Mode.OBSERVE
    assert modes.until_ns is None


def test_arming_again_prolongs() -> None:
    modes = armed(for_s=10.0)
    assert modes.apply("raise", 5 * S, to=Mode.ARMED, reason="longer", for_s=10.0) is not None
    modes.apply("tick", 14 * S)
    assert modes.mode is Mode.ARMED


@pytest.mark.parametrize("event", ["inputs_bad", "ledger_bad", "unknown", "override"])
def test_these_hold(event: Event) -> None:
    modes = armed()
    modes.apply(event, 1)
    assert modes.mode is Mode.HOLD


def test_k_good_windows_in_a_row_end_a_hold() -> None:
    modes = armed(good_windows=3)
    modes.apply("inputs_bad", 1)
    for event in ("inputs_good", "inputs_good", "inputs_bad", "inputs_good", "inputs_good"):
        modes.apply(event, 2)  # type: ignore[arg-type]
        assert modes.mode is Mode.HOLD
    modes.apply("inputs_good", 3)
    assert modes.mode is Mode.ARMED


def test_every_cause_has_to_heal() -> None:
    modes = armed(good_windows=1)
    modes.apply("ledger_bad", 1)
    modes.apply("unknown", 1)
    assert modes.causes == ("ledger", "unknown")
    modes.apply("inputs_good", 1)
    modes.apply("resolved", 2)
    assert modes.mode is Mode.HOLD
    modes.apply("ledger_good", 3)
    assert modes.mode is Mode.ARMED


def test_an_override_ends_in_shed_and_never_in_armed() -> None:
    modes = armed()
    modes.apply("override", 1)
    modes.apply("inputs_good", 2)
    assert modes.mode is Mode.SHED
    modes.apply("shed_done", 3)
    assert modes.mode is Mode.OBSERVE


def test_the_reason_tells_what_brought_it_down_not_that_time_went_on() -> None:
    modes = armed(longest_hold_s=5.0)
    modes.apply("inputs_bad", 0, reason="inputs: flow is stale")
    modes.apply("tick", 5 * S)
    assert modes.reason == "held too long: inputs: flow is stale"

    modes = armed()
    modes.apply("override", 0, reason="trim: reads -120, we left it at -250")
    modes.apply("tick", 1)
    assert modes.reason == "trim: reads -120, we left it at -250"

    modes = armed(for_s=10.0)
    modes.apply("inputs_bad", 10 * S, reason="inputs: flow is stale")
    assert (modes.mode, modes.reason) == (Mode.SHED, "the arming ran out")

    modes = armed(good_windows=1)
    modes.apply("inputs_bad", 0, reason="inputs: flow is stale")
    modes.apply("inputs_good", 1)
    assert (modes.mode, modes.reason) == (Mode.ARMED, "good again")


def test_a_hold_that_lasts_sheds() -> None:
    modes = armed(longest_hold_s=5.0)
    modes.apply("inputs_bad", 0)
    modes.apply("tick", 5 * S - 1)
    assert modes.mode is Mode.HOLD
    modes.apply("tick", 5 * S)
    assert modes.mode is Mode.SHED


@pytest.mark.parametrize("event", ["changed", "failed", "shed"])
def test_these_shed(event: Event) -> None:
    modes = armed()
    modes.apply(event, 1)
    assert modes.mode is Mode.SHED


@pytest.mark.parametrize("event", ["rival", "broken"])
@pytest.mark.parametrize("locked_from", [Mode.OBSERVE, Mode.ARMED])
def test_these_lock_out_until_a_person_resets(event: Event, locked_from: Mode) -> None:
    modes = armed() if locked_from is Mode.ARMED else made()
    modes.apply(event, 1, reason="somebody")
    assert modes.mode is Mode.LOCKOUT
    for other in get_args(Event):
        if other != "reset":
            modes.apply(other, 2, to=Mode.ARMED, reason="x", for_s=9.0)
            assert modes.mode is Mode.LOCKOUT, other
    modes.apply("reset", 3, by="ann")
    assert modes.mode is Mode.OBSERVE


def test_a_lockout_survives_a_restart() -> None:
    modes = made(locked="another writer")
    assert modes.mode is Mode.LOCKOUT
    assert modes.reason == "another writer"
    modes.apply("restart", 1)
    assert modes.mode is Mode.LOCKOUT


def test_stop_goes_straight_to_observe() -> None:
    modes = armed()
    modes.apply("stop", 1)
    assert modes.mode is Mode.OBSERVE


def test_a_person_who_lowers_an_armed_loop_gets_there_by_way_of_shed() -> None:
    modes = armed()
    modes.apply("raise", 1, to=Mode.OFF, reason="home")
    assert modes.mode is Mode.SHED
    modes.apply("shed_done", 2)
    assert modes.mode is Mode.OFF


def test_only_tier_one_with_rearm_auto_arms_itself() -> None:
    assert "arms itself" in (made().refusal("rearm", reason="x", for_s=9.0) or "")
    assert "arms itself" in (made(tier=2, rearm="auto").refusal("rearm", reason="x", for_s=9.0) or "")
    modes = made(rearm="auto")
    modes.apply("rearm", 1, reason="restart", for_s=9.0)
    assert modes.mode is Mode.ARMED


def test_an_approval_is_for_one_value_short_lived_and_used_once() -> None:
    modes = armed(tier=2)
    modes.approve("speed", -10.0, 0, by="ann", for_s=60.0)
    found = modes.approval("speed", 60 * S - 1)
    assert found is not None
    assert (found.value, found.by) == (-10.0, "ann")
    assert modes.approval("speed", 60 * S) is None
    assert modes.approval("valve", 1) is None
    modes.use("speed")
    assert modes.approval("speed", 1) is None
    assert modes.approve("speed", 1.0, 0, by="ann", for_s=1e9).expires_ns == 300 * S


def test_approvals_do_not_outlive_the_arming() -> None:
    modes = armed(tier=2)
    modes.approve("speed", -10.0, 0, by="ann")
    modes.apply("stop", 1)
    assert modes.approval("speed", 2) is None


def test_whatever_happens_only_a_person_or_an_allowed_rearm_leads_to_armed() -> None:
    rng = random.Random(3)
    events = get_args(Event)
    for _ in range(300):
        modes = made(rng.choice((Mode.OFF, Mode.OBSERVE, Mode.ADVISE, Mode.ARMED)), rng.choice((0, 1, 2)))
        for now in range(60):
            event, before = rng.choice(events), modes.mode
            to = rng.choice((Mode.OFF, Mode.OBSERVE, Mode.ADVISE, Mode.ARMED))
            change = modes.apply(event, now * S, to=to, reason="x", for_s=rng.choice((None, 5.0)))
            assert (change is None) == (modes.mode is before) or before is modes.mode is Mode.ARMED
            if modes.mode is Mode.ARMED and before not in (Mode.ARMED, Mode.HOLD):
                assert (event, to, modes.highest) == ("raise", Mode.ARMED, Mode.ARMED)
                assert modes.tier in (1, 2)
            if modes.mode is Mode.ARMED:
                assert modes.until_ns is not None
            if event == "stop":
                assert modes.mode not in (Mode.ARMED, Mode.HOLD, Mode.SHED)


def test_the_highest_mode_is_one_a_person_may_ask_for() -> None:
    with pytest.raises(ValueError, match="cannot be the highest"):
        made(Mode.HOLD)
