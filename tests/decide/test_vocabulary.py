"""Names: what a policy may speak of, and what is unknown while there is no evidence."""

from typing import Any

import pytest

from edge_agent.decide.expressions import ExpressionError, compile
from edge_agent.decide.vocabulary import NAMES, values, vocabulary
from edge_agent.messages import Reading


def test_everything_a_model_says_can_be_named(situate: Any) -> None:
    said = {"score": 0.9, "raw": 0.8, "confidence": 0.7, "novelty": 0.1, "label": "cavitation"}
    known = values(
        situate(3, tags={"flow": 31.0}, contributions=(("flow", 1.0),), probabilities={"cavitation": 0.9}, **said),
        state="normal",
        elapsed_s=2,
    )
    names = vocabulary(["flow"], states=["normal", "relief"])
    for text in (
        "score == 0.9 and raw == 0.8 and confidence == 0.7 and novelty == 0.1 and label == 'cavitation' and status == 'ok'",
        "state == 'normal' and elapsed == 2 and flow == 31 and contribution(flow) == 1 and probability('cavitation') == 0.9",
    ):
        assert compile(text, names).truth(known) is True


def test_a_diagnosis_that_is_no_evidence_says_nothing(situate: Any) -> None:
    late = situate(3, status="late", score=0.9, raw=0.9, confidence=0.9, novelty=0.2, label="x", contributions=(("flow", 1.0),))
    known = values(late, state="normal", elapsed_s=0.0)
    assert [known[name] for name in ("score", "raw", "confidence", "label")] == [None] * 4
    assert known["contributions"] == {}
    assert (known["status"], known["novelty"]) == ("late", 0.2)


def test_a_tag_cannot_shadow_what_the_model_says(situate: Any) -> None:
    known = values(situate(0, tags={"score": Reading(0.0, 0, 0, 0.0)}, score=0.9), state="s", elapsed_s=0.0)
    assert known["score"] == 0.9
    with pytest.raises(ExpressionError, match="give the tag another name"):
        compile("score > 0", vocabulary(["score"]))
    assert compile("flow > 0", vocabulary(["score", "flow"]))


def test_labels_and_states_are_checked_where_they_are_known() -> None:
    with pytest.raises(ExpressionError, match="did you mean 'cavitation'"):
        compile("label == 'cavitaton'", vocabulary([], labels=["cavitation", "leak"]))
    with pytest.raises(ExpressionError, match="did you mean 'relief'"):
        compile("state == 'releif'", vocabulary([], states=["normal", "relief"]))
    assert compile("label == 'anything'", vocabulary([]))


def test_every_name_is_documented() -> None:
    assert all(text for _, text in NAMES.values())
