"""What does a turn leave in the ledger?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import ManualClock
from edge_agent.config.model import Loop
from edge_agent.errors import LedgerError
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.link import Feedback
from edge_agent.feedback.pack import pack, unpack
from edge_agent.feedback.reader import Reader

pytestmark = pytest.mark.anyio


class Paper:
    """A journal that is a list."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, Any]]] = []
        self.healthy = True

    async def append(self, kind: str, payload: Mapping[str, Any], *, loop: str | None = None, blobs: Sequence[bytes] = ()) -> int:
        if not self.healthy:
            raise LedgerError("the disk is full")
        self.records.append((kind, payload))
        return len(self.records)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.records]


def loop(**feedback: Any) -> Loop:
    return Loop.model_validate(
        {"perceive": {"tags": ["flow"], "window": 4}, "diagnose": {"model": "m"}, "decide": {}, "feedback": feedback}
    )


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def link(paper: Paper, clock: ManualClock) -> Feedback:
    return Feedback("p1", loop(keep={"alarms": None, "drifting": False}), paper, clock)


async def test_a_decision_is_recorded_when_it_changes_and_not_at_every_turn(link: Feedback, paper: Paper, turns: Any) -> None:
    for seq, state in enumerate(["normal"] * 5 + ["relief"] * 5 + ["normal"] * 5):
        await link.record(turns.window(seq), turns.diagnosis(seq), turns.decision(seq, state), ())
    assert paper.kinds() == ["decision"] * 3
    assert paper.records[1][1]["state"] == "relief"
    assert paper.records[1][1]["diagnosis"]["score"] == 0.1


async def test_becoming_unknown_is_a_change(link: Feedback, paper: Paper, turns: Any) -> None:
    await link.record(turns.window(1), turns.diagnosis(1), turns.decision(1), ())
    await link.record(turns.window(2), turns.diagnosis(2, None, status="unknown", why="flow: stale"), turns.decision(2, unknown=True), ())
    assert [payload["unknown"] for _, payload in paper.records] == [False, True]


async def test_a_kept_window_comes_with_its_values_quality_and_diagnosis(
    ledger: Ledger, folder: Path, clock: ManualClock, turns: Any
) -> None:
    link = Feedback("p1", loop(), ledger, clock)
    window = turns.window(7, quality=np.full((2, 4), 512, np.uint16))
    await link.record(window, turns.diagnosis(7, 0.95, contributions=(("vib", 0.8), ("flow", 0.2))), turns.decision(7), ())
    with Reader(folder) as reader:
        (kept,) = reader.newest(5, "window")
        (said,) = reader.newest(5, "diagnosis")
        values, quality, tags = unpack(reader.blobs.path(kept.blobs[0]).read_bytes())
    assert (values == window.values).all()
    assert (quality == 512).all()
    assert tags == ("flow", "vib")
    assert kept.payload["why"] == ["alarm begins"] or "alarm begins" in kept.payload["why"]
    assert (said.payload["window_record"], said.payload["contributions"][0]) == (kept.seq, ["vib", 0.8])


async def test_the_outcome_labels_the_alarm(link: Feedback, paper: Paper, turns: Any) -> None:
    for seq, score in enumerate([0.9] * 5 + [0.1] * 9):
        outcomes = (turns.outcome("confirmed", intent=99),) if seq == 2 else ()
        await link.record(turns.window(seq), turns.diagnosis(seq, score), turns.decision(seq), outcomes)
    (label,) = [payload for kind, payload in paper.records if kind == "label"]
    assert label["value"] == "fault, fell back after the action"
    assert 99 in label["about"]


async def test_an_outcome_that_came_between_two_windows_counts_with_the_next(link: Feedback, paper: Paper, turns: Any) -> None:
    for seq, score in enumerate([0.9] * 5 + [0.1] * 9):
        if seq == 3:
            link.late((turns.outcome("no_response", intent=99),))
        await link.record(turns.window(seq), turns.diagnosis(seq, score), turns.decision(seq), ())
    assert [payload["value"] for kind, payload in paper.records if kind == "label"] == ["no response"]


async def test_labels_can_be_switched_off(paper: Paper, clock: ManualClock, turns: Any) -> None:
    link = Feedback("p1", loop(label_outcomes=False), paper, clock)
    for seq, score in enumerate([0.9] * 5 + [0.1] * 9):
        await link.record(turns.window(seq), turns.diagnosis(seq, score), turns.decision(seq), ())
    assert "label" not in paper.kinds()


async def test_what_could_not_be_written_is_declared_as_a_gap(link: Feedback, paper: Paper, turns: Any) -> None:
    paper.healthy = False
    for seq, state in enumerate(["a", "b", "c"]):
        await link.record(turns.window(seq), turns.diagnosis(seq), turns.decision(seq, state), ())
    assert link.status()["lost_turns"] == 3
    paper.healthy = True
    await link.record(turns.window(4), turns.diagnosis(4), turns.decision(4, "d"), ())
    assert paper.kinds() == ["gap", "decision"]
    assert paper.records[0][1]["turns"] == 3
    assert link.status()["lost_turns"] == 0


async def test_equal_windows_are_equal_bytes(turns: Any) -> None:
    assert pack(turns.window(3)) == pack(turns.window(3))
    assert pack(turns.window(3)) != pack(turns.window(4))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"\x93NUMPY"])
async def test_what_is_no_packed_window_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed window"):
        unpack(data)
