"""The page of promises is what the last long run gave, and every figure has its row."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.fault.promises import FIGURES, PAGE, PROMISES, render, row_of

TESTS = Path(__file__).parent


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == render(json.loads(FIGURES.read_text())), "run `python -m tests.fault.promises`"


def test_every_figure_that_a_test_notes_has_a_row() -> None:
    rows = {promise.name for promise in PROMISES}
    noted = {name for file in TESTS.rglob("test_*.py") for name in re.findall(r'\bfigure\(\s*f?"([^"{]+)', file.read_text())}
    assert len(noted) > 10
    assert {name for name in noted if row_of(name.rstrip(",: ") + ", ") not in rows} == set()


def test_a_figure_of_a_test_that_failed_says_so() -> None:
    entry = {"day": "2026-01-01", "outcome": "failed", "seconds": 1.0, "figures": [["power cut", {"points": 5, "lost": 1}]]}
    page = render({"machine": "m", "tests": {"tests/x.py::test_y": entry}})
    assert "**failed** points 5, lost 1" in page
    assert "- `tests/x.py::test_y`: failed" in page
    assert page.count("not run") == len(PROMISES) - 1
