"""What an earlier run left behind is found in the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.feedback import past
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.writer import Identity

pytestmark = pytest.mark.anyio


async def write(folder: Path, *records: tuple[str, dict[str, Any]]) -> None:
    ledger = Ledger(folder, identity=Identity("a", "o", {}), clock=SystemClock())
    ledger.start()
    try:
        for kind, payload in records:
            await ledger.append(kind, payload, loop="p1")
    finally:
        ledger.close()


def intent(value: float, kind: str = "trim") -> tuple[str, dict[str, Any]]:
    return "intent", {"tag": "speed", "kind": kind, "value": value, "before": 0.0, "decision": 1}


def outcome(of: int, status: str, after: float) -> tuple[str, dict[str, Any]]:
    return "outcome", {"tag": "speed", "intent": of, "status": status, "after": after}


async def test_an_intent_without_an_outcome_is_open_and_gets_one_that_says_what_is_known(tmp_path: Path) -> None:
    await write(tmp_path, intent(-10.0), outcome(2, "confirmed", -10.0), intent(-20.0))
    found = past.read(tmp_path, "p1")
    (still_open,) = found.open_intents
    assert still_open.payload["value"] == -20.0
    told = past.unknown(still_open)
    assert (told["status"], told["intent"], told["value"]) == ("unknown", still_open.seq, -20.0)


async def test_the_last_confirmed_trim_is_what_was_left_and_a_setpoint_is_not(tmp_path: Path) -> None:
    await write(tmp_path, intent(-10.0), outcome(2, "confirmed", -10.0), intent(-20.0), outcome(4, "confirmed", -20.0))
    assert past.read(tmp_path, "p1").left == {"speed": -20.0}
    assert past.read(tmp_path, "another").left == {}


async def test_a_refused_write_left_nothing(tmp_path: Path) -> None:
    await write(tmp_path, intent(-10.0), outcome(2, "refused", 0.0), intent(5.0, "set"), outcome(4, "confirmed", 5.0))
    assert past.read(tmp_path, "p1").left == {}


@pytest.mark.parametrize(("modes", "locked"), [((), None), (("lockout",), "rival"), (("lockout", "observe"), None)])
async def test_a_lockout_stands_until_a_later_mode(tmp_path: Path, modes: tuple[str, ...], locked: str | None) -> None:
    await write(tmp_path, *(("mode", {"to": mode, "reason": "rival"}) for mode in modes))
    assert past.read(tmp_path, "p1").locked == locked
