"""Does the story of a record say why it did, or did not, act?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_agent.cli import explain
from edge_agent.cli import ledger as ledger_commands
from edge_agent.clock import ManualClock
from edge_agent.config.model import Loop
from edge_agent.errors import LedgerError
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.link import Feedback
from edge_agent.feedback.reader import Reader
from edge_agent.feedback.story import find, tell, text
from edge_agent.messages import Proposal

pytestmark = pytest.mark.anyio

LOOP = Loop.model_validate({"perceive": {"tags": ["flow"], "window": 4}, "diagnose": {"model": "m"}, "decide": {}})


@pytest.fixture
async def told(open_ledger: Callable[..., Ledger], folder: Path, clock: ManualClock, turns: Any) -> Path:
    """Quiet, then an alarm: refused once by the gate, then written; then a label. Closed."""
    ledger = open_ledger()
    link = Feedback("p1", LOOP, ledger, clock)
    await link.record(turns.window(1), turns.diagnosis(1), turns.decision(1), ())
    wants = (Proposal("trim", "speed", -200.0, "valve closing"),)
    relief = turns.decision(2, "relief", proposals=wants, reason="score > 0.8 for 5 s")
    intent = await ledger.append(
        "intent",
        {"tag": "speed", "value": -200.0, "decision": 2, "window": 2, "findings": [["mode", True, "ok"], ["limits", False, "above 100"]]},
        loop="p1",
    )
    await ledger.append(
        "outcome", {"tag": "speed", "status": "refused", "why": "limits: above 100", "intent": intent, "decision": 2}, loop="p1"
    )
    seen = turns.diagnosis(2, 0.95, contributions=(("vib", 0.8), ("flow", 0.2)))
    await link.record(turns.window(2), seen, relief, ())
    await ledger.append("label", {"about": [intent], "value": "valve", "author": "ann", "note": "seen"}, loop="p1")
    ledger.close()
    return folder


def story(folder: Path, seq: int | None) -> dict[str, Any]:
    with Reader(folder) as reader:
        return tell(reader, find(reader, seq))


async def test_the_last_decision_tells_what_was_seen_said_and_refused(told: Path) -> None:
    said = text(story(told, None))
    assert "score 0.95" in said
    assert "because of vib 80%, flow 20%" in said
    assert "normal -> relief: score > 0.8 for 5 s" in said
    assert "proposes trim speed -200.0: valve closing" in said
    assert "NO  limits: above 100" in said
    assert "outcome    speed refused: limits: above 100" in said
    assert "label      valve  by ann: seen" in said


async def test_an_intent_without_an_outcome_is_told_as_such(open_ledger: Callable[..., Ledger], folder: Path) -> None:
    ledger = open_ledger()
    intent = await ledger.append("intent", {"tag": "speed", "value": -20.0, "decision": 1, "window": 1}, loop="p1")
    ledger.close()
    assert "outcome    none is on record" in text(story(folder, intent))


async def test_a_decision_that_proposed_nothing_says_so(told: Path) -> None:
    assert "no write   the policy proposed nothing" in text(story(told, 2))


@pytest.mark.parametrize("kind", ["intent", "outcome", "label", "window", "diagnosis", "agent"])
async def test_every_kind_of_record_has_a_story(told: Path, kind: str) -> None:
    with Reader(told) as reader:
        (record,) = reader.newest(1, kind)
        assert text(tell(reader, record)).startswith("record ")


async def test_a_record_that_is_not_there_is_a_clear_error(told: Path) -> None:
    with pytest.raises(LedgerError, match="there is no record 999"):
        story(told, 999)


async def test_nothing_decided_yet_is_a_clear_error(open_ledger: Callable[..., Ledger], folder: Path) -> None:
    open_ledger()
    with pytest.raises(LedgerError, match="nothing was decided yet"):
        story(folder, None)


async def test_explain_prints_the_story_for_people_and_for_programs(told: Path) -> None:
    shown = CliRunner().invoke(explain.command, [str(told), "last"])
    assert "relief" in shown.output
    as_json = json.loads(CliRunner().invoke(explain.command, [str(told), "3", "--json"]).output)
    assert as_json["intents"][0]["findings"][1] == ["limits", False, "above 100"]
    assert CliRunner().invoke(explain.command, [str(told), "soon"]).exit_code == 2


async def test_ledger_verify_tells_and_exits_by_what_it_found(told: Path) -> None:
    good = CliRunner().invoke(ledger_commands.command, ["verify", str(told)])
    assert (good.exit_code, "the chain is whole" in good.output) == (0, True)
    for blob in [f for f in (told / "current" / "blobs").rglob("*") if f.is_file()]:
        blob.unlink()
    bad = CliRunner().invoke(ledger_commands.command, ["verify", str(told), "--json"])
    assert (bad.exit_code, json.loads(bad.output)["ok"]) == (1, False)


async def test_ledger_tail_and_show_print_records(told: Path) -> None:
    tail = CliRunner().invoke(ledger_commands.command, ["tail", str(told), "-n", "2", "--json"])
    assert [json.loads(line)["kind"] for line in tail.output.splitlines()][-1] == "label"
    assert CliRunner().invoke(ledger_commands.command, ["tail", str(told), "--kind", "intent"]).output.count("\n") == 1
    shown = CliRunner().invoke(ledger_commands.command, ["show", str(told), "3"])
    assert json.loads(shown.output)["kind"] == "intent"
