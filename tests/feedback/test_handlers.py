"""May anybody label anything? Only what exists, in words of bounded length."""

from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import EdgeAgentError
from edge_agent.feedback.handlers import label
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.reader import Reader

pytestmark = pytest.mark.anyio


async def test_a_label_points_at_an_older_record_and_travels_as_far(ledger: Ledger, folder: Path) -> None:
    seq = await ledger.append("window", {}, loop="p1")
    reply = await label(ledger, {"seq": seq, "value": "cavitation", "by": "ann", "note": "heard it"})
    with Reader(folder) as reader:
        said = reader.record(reply["seq"])
    assert said is not None
    assert said.payload == {"about": [seq], "value": "cavitation", "author": "ann", "note": "heard it"}
    assert (said.kind, said.loop, said.share) == ("label", "p1", "company")


async def test_labels_that_disagree_stand_side_by_side(ledger: Ledger, folder: Path) -> None:
    seq = await ledger.append("window", {}, loop="p1")
    await label(ledger, {"seq": seq, "value": "cavitation", "by": "ann"})
    await label(ledger, {"seq": seq, "value": "false alarm", "by": "bob"})
    with Reader(folder) as reader:
        assert [(r.payload["author"], r.payload["value"]) for r in reader.labels()] == [("bob", "false alarm"), ("ann", "cavitation")]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"seq": "1", "value": "x"},
        {"seq": True, "value": "x"},
        {"seq": 0, "value": "x"},
        {"seq": 2**70, "value": "x"},
        {"seq": [], "value": "x"},
        {"seq": [1] * 1001, "value": "x"},
        {"seq": {"a": 1}, "value": "x"},
        {"seq": 1},
        {"seq": 1, "value": ""},
        {"seq": 1, "value": "  "},
        {"seq": 1, "value": 5},
        {"seq": 1, "value": "x" * 501},
        {"seq": 1, "value": "x", "by": 7},
        {"seq": 1, "value": "x", "note": ["n"]},
        {"seq": 999, "value": "x"},
    ],
)
async def test_what_is_no_label_is_refused_with_what_to_do(ledger: Ledger, request_: dict[str, Any]) -> None:
    with pytest.raises(EdgeAgentError, match="label: "):
        await label(ledger, request_)
    assert ledger.last_seq == 1


async def test_a_label_cannot_be_labelled(ledger: Ledger) -> None:
    seq = await ledger.append("window", {}, loop="p1")
    first = await label(ledger, {"seq": seq, "value": "x"})
    with pytest.raises(EdgeAgentError, match="itself a label"):
        await label(ledger, {"seq": first["seq"], "value": "y"})


async def test_records_of_different_loops_are_labelled_on_their_own(ledger: Ledger) -> None:
    seqs = [await ledger.append("window", {}, loop=loop) for loop in ("p1", "p2")]
    with pytest.raises(EdgeAgentError, match="different loops"):
        await label(ledger, {"seq": seqs, "value": "x"})
