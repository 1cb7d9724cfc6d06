"""Does the benchmark tell seen from unseen, give the same figures twice, and refuse what would give wrong ones?"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import root
from edge_agent.diagnose.bundle import read
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.lab import evaluate, folds, recipe, report
from edge_agent.lab.data import DataRefused

NAME = "uci_accelerometer"


def hush(line: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def data(lab: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(lab.write_csv(tmp_path_factory.mktemp("fan")))


@pytest.fixture(scope="module")
def half(lab: SimpleNamespace, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was trained on two of the four speeds, and says so."""
    runs = recipe.listed(recipe.runs(NAME, data, ["40", "50"]))
    return Path(lab.write(tmp_path_factory.mktemp("half") / "fan", speeds=(20, 30), runs=runs))


def judge(folder: Path, data: Path, **more: Any) -> dict[str, Any]:
    return evaluate.evaluate(read(folder, dev=True), NAME, data, say=hush, robustness=False, runs=20, **more)


def test_the_headline_is_of_unseen_runs_and_known_ones_stand_beside(half: Path, data: Path) -> None:
    card = judge(half, data)
    assert card["basis"] == "held-out"
    assert {n.split("@")[1] for n in card["runs"]["unseen"]} == {"40", "50"}
    assert card["graphs"]["fp32"]["figures"]["macro_f1"] > 0.9
    assert card["in_sample"]["macro_f1"] > 0.9
    assert {t["metric"]: t["met"] for t in card["targets"][:2]} == {"macro_f1": True, "auroc": True}
    reached = {t["metric"]: t["reached"] for t in card["targets"]}
    assert reached.keys() >= {"refused_clean", "refused_other_scale", "refused_broken_sensor", "bundle_mb", "cpu_p99_us"}
    assert "held out: 6 of 12 runs" in report.text(card)


def test_a_bundle_that_knows_every_run_proves_nothing(good: Path, data: Path) -> None:
    card = judge(good, data)
    assert card["basis"] == "in-sample"
    assert {t["metric"]: t["met"] for t in card["targets"]} == {
        "macro_f1": None, "auroc": None, "int8_loss": None, "refused_clean": None,
        "refused_other_scale": True, "refused_broken_sensor": True, "bundle_mb": True, "cpu_p99_us": True,
    }  # fmt: skip
    text = report.text(card)
    assert "IN-SAMPLE" in text
    assert "not proven" in text


def test_a_renamed_run_is_still_known(lab: SimpleNamespace, data: Path, tmp_path: Path) -> None:
    runs = {f"renamed-{i}": h for i, h in enumerate(recipe.listed(recipe.runs(NAME, data)).values())}
    card = judge(lab.write(tmp_path / "fan", runs=runs), data)
    assert card["basis"] == "in-sample"


def test_the_same_run_twice_gives_the_same_figures(half: Path, data: Path) -> None:
    one, two = judge(half, data), judge(half, data)
    assert one["figures_hash"] == two["figures_hash"]
    assert one["graphs"] == two["graphs"]


def test_a_broken_sensor_is_tried_on_each_channel(half: Path, data: Path) -> None:
    card = evaluate.evaluate(read(half, dev=True), NAME, data, say=hush, runs=20)
    assert set(card["robustness"]["faults"]) == {"noise", "bias", "gain", "stuck", "dropout", "swapped", "jitter"}
    assert card["robustness"]["faults"]["bias"]["refused_mean"] > 0.5
    assert "broken sensor" in report.text(card)
    page = report.html(card)
    assert page.count("<svg") >= 3
    assert not [w for w in ("http:", "https:", "<script", " src=", "url(") if w in page]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roles": [{"role": f"vibration_{a}", "unit": "bar"} for a in "xyz"]}, "role vibration_x: .*mend the unit in the card"),
        ({"roles": [{"role": a, "unit": "g"} for a in ("flow", "pressure", "current")]}, "has no such channel; name the role after one of"),
        ({"window": {"rows": 100, "every": "1 s"}}, "wants a row every 1 s; uci_accelerometer has one every 0.02 s"),
    ],
)
def test_a_bundle_that_does_not_take_this_data_is_refused(
    changes: dict[str, Any], said: str, lab: SimpleNamespace, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataRefused, match=said):
        judge(lab.write(tmp_path / "fan", **changes), data)


# ------------------------------------------------------------ recipes

RECIPE = """
import importlib.util, sys
from edge_agent.lab import recipe
spec = importlib.util.spec_from_file_location("maker", {maker!r})
maker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(maker)
args = recipe.arguments("a recipe").parse_args()
runs = recipe.runs("uci_accelerometer", args.data, recipe.withheld(args.without))
speeds = sorted({{int(run.group) for run in runs}})
listed = recipe.listed({listed})
maker.write(args.out, speeds=speeds, runs=listed)
"""


def make(file: Path, listed: str = "runs") -> Path:
    file.write_text(RECIPE.format(maker=str(Path(__file__).with_name("conftest.py")), listed=listed))
    return file


@pytest.mark.slow
def test_a_recipe_is_judged_fold_by_fold_on_what_it_did_not_see(data: Path, tmp_path: Path) -> None:
    card = folds.judge(make(tmp_path / "train.py"), NAME, data, say=hush)
    assert card["basis"] == "recipe"
    assert len(card["folds"]) == 4
    assert card["targets"][0]["met"] is True
    assert "recipe judged on 4 folds" in card["note"]
    assert "without 50 %" in report.text(card)


def test_a_recipe_that_looks_at_what_it_was_to_leave_out_is_refused(data: Path, tmp_path: Path) -> None:
    file = make(tmp_path / "train.py", listed="recipe.runs('uci_accelerometer', args.data)")
    with pytest.raises(ModelRefused, match=r"fold without 20 % leaks: its card says it was trained on normal@20"):
        folds.judge(file, NAME, data, say=hush)


def test_a_recipe_that_fails_says_its_last_words(data: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit('no torch here')")
    with pytest.raises(EdgeAgentError, match="a recipe takes --data, --out and --without:\nno torch here"):
        folds.judge(tmp_path / "train.py", NAME, data, say=hush, python=sys.executable)


# ------------------------------------------------------------ the command line


def run(*words: Any) -> Result:
    return CliRunner().invoke(root, ["models", "evaluate", *map(str, words)])


def test_the_command_stores_its_cards_and_makes_a_leaderboard(half: Path, data: Path, tmp_path: Path) -> None:
    done = run("--all", half.parent, "--data", data, "--quick", "--store", tmp_path, "--trust", tmp_path)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split()[:2] == ["uci_accelerometer", "macro_f1"]
    assert "fan@1.0.0" in lines[1]
    assert "held-out" in lines[1]
    assert any("(always normal)" in line for line in lines)
    stored = json.loads((tmp_path / "uci_accelerometer-fan-1.0.0.json").read_text())
    assert stored["basis"] == "held-out"
    assert (tmp_path / "uci_accelerometer-fan-1.0.0.html").read_text().startswith("<!doctype html>")
    board = (tmp_path / "index.html").read_text()
    assert '<a href="uci_accelerometer-fan-1.0.0.html">fan@1.0.0</a>' in board
    assert "1 of them on runs that the bundle has never seen" in board


def test_the_command_lists_scenarios_and_says_what_is_missing(half: Path, tmp_path: Path) -> None:
    assert "skab" in run("--on", "list").output
    assert run(half, "--on", NAME).exit_code == 2
    assert run("--on", NAME, "--data", tmp_path).exit_code == 2
