"""Is a loop that cannot serve its model found before the line runs, with the place and the cure?"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_agent.cli import root
from edge_agent.config import fit
from edge_agent.config.load import Configuration

CARD = """format: 1
name: some-model
version: 2.0.0
head: {type: anomaly}
window:
  rows: 60
  every: 1 s
roles:
- role: flow
  unit: l/min
- {role: vib, unit: g}
envelope:
  name: [not, ours]
"""


@pytest.fixture
def misfits(loaded: Callable[..., Configuration], good: str, tmp_path: Path) -> Callable[..., list[str]]:
    """What does not fit after `old` was replaced by `new` in the right configuration, beside this card."""

    def found(old: str = "", new: str = "", card: str = CARD) -> list[str]:
        assert old in good
        (tmp_path / "models" / "some-model").mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / "some-model" / "card.yaml").write_text(card)
        return [str(problem) for problem in fit.problems(loaded(good.replace(old, new, 1)))]

    return found


def test_what_fits_is_no_news(misfits: Callable[..., list[str]]) -> None:
    assert misfits() == []


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("window: 60", "window: 30", ":15:55: loops.p1.perceive.window", "30 rows; some-model@2.0.0 was trained on 60; write `window: 60`"),
        ("every: 1 s, window", "every: 2 s, window", ":15:42: loops.p1.perceive.every", "rows 2 s apart; some-model@2.0.0 was trained"),
        ("tags: [flow, vib]", "tags: [flow]", ":15:16: loops.p1.perceive.tags", "1 tags; some-model@2.0.0 takes 2"),
        ("unit: l/min, range", "unit: bar, range", ":15:23: loops.p1.perceive.tags[0]", "flow for role flow"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(old: str, new: str, place: str, said: str, misfits: Callable[..., list[str]]) -> None:
    (problem,) = misfits(old, new)
    assert said in problem
    assert place in problem


def test_a_unit_that_converts_fits(misfits: Callable[..., list[str]]) -> None:
    assert misfits("unit: l/min, range", "unit: m3/h, range") == []


def test_roles_that_the_card_does_not_know_are_named(misfits: Callable[..., list[str]]) -> None:
    (problem,) = misfits("{model: some-model}", "{model: some-model, roles: {flow: flow, vibration: vib}}")
    assert "vib, vibration: missing or unknown" in problem


@pytest.mark.parametrize("card", ["[", "name: x\n", "window: {rows: many}\n", "\ufeff", CARD.replace("1 s", "1 parsec")])
def test_a_card_that_cannot_be_read_is_left_to_those_who_load_it(card: str, misfits: Callable[..., list[str]]) -> None:
    assert misfits("window: 60", "window: 30", card) == []


def test_the_installed_version_in_use_counts(loaded: Callable[..., Configuration], good: str, tmp_path: Path) -> None:
    home = tmp_path / "models" / "some-model"
    for version, rows in (("1", 60), ("2", 40)):
        (home / version).mkdir(parents=True)
        (home / version / "card.yaml").write_text(CARD.replace("rows: 60", f"rows: {rows}"))
    (home / "state.json").write_text(json.dumps({"current": "2", "previous": ["1"]}))
    (problem,) = fit.problems(loaded(good))
    assert "trained on 40" in str(problem)


def test_check_finds_it_and_shows_the_line(misfits: Callable[..., list[str]], good: str, tmp_path: Path) -> None:
    misfits()
    file = tmp_path / "line.yaml"
    file.write_text(good.replace("window: 60", "window: 61"))
    done = CliRunner().invoke(root, ["check", "--no-secrets", str(file)])
    assert done.exit_code == 78
    assert "help: write `window: 60`" in done.output
