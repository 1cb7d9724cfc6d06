"""What a person reads of a running agent: what matters first, and nothing that is wrong left out."""

from typing import Any

import pytest

from edge_agent.cli.status import text


@pytest.fixture
def page() -> dict[str, Any]:
    diagnosis = {"status": "ok", "why": "", "score": 0.97, "label": "cavitation", "confidence": 0.9, "novelty": None, "end_ns": 1}
    standing = {"value": -100.0, "trimmed": True, "taken_by_operator": False, "unresolved_intent": None, "waits_for_approval": None}
    loop = {
        "mode": "armed", "why": "trial", "until": "2026-11-22T20:24:54+00:00", "state": "relief", "because": "score 0.97 > 0.8",
        "turns": 12, "unfit": 1, "dropped": 0, "waiting": 0, "bound": 8, "errors": 0, "last_error": "", "model": "pump@1.0.0",
        "window": {"filled": 16, "rows": 16}, "diagnosis": diagnosis, "execute": {"tags": {"trim": standing}},
    }  # fmt: skip
    good = {"value": 1.0, "quality": 0, "why": "good", "age_s": 0.1}
    return {
        "agent": "line", "up_s": 7300.0, "pid": 7, "health": "", "machine": {"clock_stepped": False, "jitter_s": 0.01, "disk_free": 5e9},
        "inbox": {"waiting": 0, "bound": 200000, "dropped": 0, "not_recorded": 0},
        "connectors": {"plc": {"link": "up", "reason": "new session", "tags": {}}},
        "tags": {"flow": good}, "loops": {"p1": loop}, "refused": {}, "recording": {}, "worker": {"crashes": 0, "late": 0}, "parts": {},
        "ledger": {"healthy": True, "trouble": "", "last_seq": 92, "bytes": 130388, "max_bytes": 2e9, "lost": 0, "refused": 0},
    }  # fmt: skip


def test_a_well_agent_is_told_in_few_lines_of_plain_words(page: dict[str, Any]) -> None:
    said = text(page)
    assert "agent line: well, up 2 h 1 min, pid 7" in said
    assert "link plc: up, new session" in said
    assert "loop p1: armed until 2026-11-22T20:24:54+00:00, trial" in said
    assert "says    cavitation, score 0.97, confidence 0.9 (pump@1.0.0)" in said
    assert "state   relief: score 0.97 > 0.8" in said
    assert "wrote   trim = -100" in said
    assert "ledger: ok, 92 records, 0.13 MB of 2000 MB" in said
    assert "=None" not in said
    assert "why=" not in said


def test_drift_and_the_interval_are_told(page: dict[str, Any]) -> None:
    page["loops"]["p1"]["diagnosis"] |= {"drifting": ["flow level: +3.4 deviations"], "lower": 39.5, "upper": 44.5}
    assert "DRIFTING  flow level: +3.4 deviations" in text(page)
    assert "between 39.5 and 44.5" in text(page)


def test_a_refused_loop_is_not_left_out(page: dict[str, Any]) -> None:
    page["refused"] = {"p2": "models/pump: not signed by a trusted key"}
    assert "loop p2: DOES NOT RUN: models/pump: not signed by a trusted key" in text(page)


def test_what_waits_for_a_person_comes_with_the_command_that_answers_it(page: dict[str, Any]) -> None:
    page["loops"]["p1"]["execute"]["tags"]["trim"]["waits_for_approval"] = -150.0
    assert "WAITS for a person's yes: edge-agent approve CONFIG p1 trim -150" in text(page)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("tags", "flow"), {"value": None, "quality": 4, "why": "stale", "age_s": 12.0}, "tag flow: stale, last value 12 s ago"),
        (("tags", "flow"), {"value": None, "quality": 8, "why": "gap", "age_s": None}, "tag flow: gap, no value yet"),
        (("connectors", "plc", "tags"), {"flow": "BadNodeIdUnknown"}, "tag flow: BadNodeIdUnknown"),
        (("inbox", "dropped"), 12, "DROPPED: 12 samples by the inbox"),
        (("ledger", "lost"), 3, "DROPPED: 3 records by the ledger"),
        (("loops", "p1", "dropped"), 2, "DROPPED: 2 windows by loop p1"),
        (("ledger", "healthy"), False, "ledger: NOT WRITABLE"),
        (("loops", "p1", "errors"), 4, "4 turns failed"),
        (("health",), "pump: no progress for 12 s", "pump: no progress for 12 s"),
        (("machine", "clock_stepped"), True, "clock was set"),
        (("worker", "crashes"), 2, "model process: 2 crashes"),
        (
            ("parts",),
            {"connector plc": {"crashes": 1, "last_error": "KeyError: 'x'"}},
            "connector plc: crashed 1 times, last KeyError: 'x'",
        ),
        (("recording",), {"path": "r.rec", "frames": 9, "failed": "disk full"}, "recording: disk full"),
    ],
)
def test_each_thing_that_is_wrong_is_told(page: dict[str, Any], path: tuple[str, ...], value: Any, words: str) -> None:
    inner = page
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert words in text(page)


def test_a_loop_that_has_seen_no_window_yet_says_how_far_it_is(page: dict[str, Any]) -> None:
    page["loops"]["p1"] |= {"diagnosis": None, "state": None, "window": {"filled": 3, "rows": 16}, "because": ""}
    assert "says    nothing yet: 3 of 16 rows (pump@1.0.0)" in text(page)


def test_a_thousand_good_tags_take_no_line(page: dict[str, Any]) -> None:
    page["tags"] = {f"t{i}": page["tags"]["flow"] for i in range(1000)}
    assert len(text(page).splitlines()) < 12


def test_tags_with_the_same_trouble_are_told_in_one_line_and_counted(page: dict[str, Any]) -> None:
    page["tags"] = {f"t{i}": {"value": None, "quality": 4, "why": "stale", "age_s": 3.0} for i in range(1000)}
    assert text(page).splitlines()[-1] == "tags t0, t1, t2, t3, t4, t5, t6, t7 and 992 more: stale, last value 3 s ago"


def test_many_troubles_are_counted(page: dict[str, Any]) -> None:
    page["tags"] = {f"t{i}": {"value": None, "quality": 4, "why": "stale", "age_s": float(i % 100)} for i in range(1000)}
    said = text(page).splitlines()
    assert said[-1] == "and 800 more tags; --json shows them all"
    assert len(said) < 40
