"""edge-agent models evaluate: one benchmark for all bundles, with report cards and a leaderboard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.models_options import PATH, json_option, progress, read, show, trust_option
from edge_agent.errors import EdgeAgentError


@click.command("evaluate")
@click.argument("bundle", type=PATH, required=False)
@click.option("--on", "scenario", help="The scenario; `--on list` shows all.")
@click.option("--data", type=PATH, envvar="EDGE_AGENT_DATA", help="The data set's folder, or the folder above.")
@click.option("--all", "every", is_flag=True, help="Every bundle in the folder BUNDLE on every scenario that it fits: a leaderboard.")
@click.option("--folds", is_flag=True, help="Judge the recipe: run train.py once a fold of the scenario's split (runs its code).")
@click.option("--recipe", type=PATH, help="The recipe for --folds; default: train.py in the bundle's folder.")
@click.option("--python", default=sys.executable, show_default="this one", help="The interpreter that has what the recipe needs.")
@click.option("--quick", is_flag=True, help="Leave out the broken sensors.")
@click.option(
    "--store",
    type=PATH,
    help="Folder for the report cards (SCENARIO-NAME-VERSION.json and .html) and index.html, the leaderboard of all that lie there.",
)
@trust_option
@json_option
def evaluate(
    bundle: Path | None,
    scenario: str | None,
    data: Path | None,
    every: bool,
    folds: bool,
    recipe: Path | None,
    python: str,
    quick: bool,
    store: Path | None,
    trust: Path,
    as_json: bool,
) -> None:
    """How good a bundle is on runs that it has never seen, beside guesses that look at no data. Exit 1: a target was missed."""
    from edge_agent.lab import report

    if scenario == "list":
        return _list(as_json)
    if data is None:
        raise click.UsageError("--data: name the data set's folder")
    if every:
        cards = _every(bundle or Path("models"), data, scenario, quick=quick, trust=trust)
        _store(cards, store)
        return show(cards, as_json, report.leaderboard)
    if bundle is None or scenario is None:
        raise click.UsageError("name a BUNDLE and --on SCENARIO, or give --all")
    if folds:
        from edge_agent.lab import folds as by_fold

        card = by_fold.judge(recipe or bundle / "train.py", scenario, data, say=progress, python=python)
    else:
        card = _one(bundle, scenario, data, quick=quick, trust=trust)
    _store([card], store)
    show(card, as_json, report.text)
    if any(target["met"] is False for target in card["targets"]):
        sys.exit(1)
    return None


def _one(bundle: Path, scenario: str, data: Path, *, quick: bool, trust: Path) -> dict[str, Any]:
    from edge_agent.lab.evaluate import evaluate as judge

    return judge(read(bundle, trust, dev=True), scenario, data, say=progress, robustness=not quick)


def _every(folder: Path, data: Path, scenario: str | None, *, quick: bool, trust: Path) -> list[dict[str, Any]]:
    """Bundles and scenarios that fit each other; one that does not fit is no news."""
    from edge_agent.lab import catalog
    from edge_agent.lab.evaluate import where
    from edge_agent.lab.heard import refuse_misfit

    cards = []
    for home in sorted(p.parent for p in folder.glob("*/manifest.json")):
        found = read(home, trust, dev=True)
        for name in [scenario] if scenario else catalog.names():
            task = catalog.load(name)
            try:
                refuse_misfit(found, task.card)
            except EdgeAgentError:
                continue
            if where(data, task).is_dir():
                cards.append(_one(home, name, data, quick=quick, trust=trust))
    if not cards:
        raise EdgeAgentError(f"{folder}: no bundle there fits a scenario whose data lie in {data}; `--on list` shows what each needs")
    return cards


def _store(cards: list[dict[str, Any]], store: Path | None) -> None:
    from edge_agent.lab import report

    if store is None:
        return
    store.mkdir(parents=True, exist_ok=True)
    for card in cards:
        name = f"{card['scenario']['name']}-{card['model'].replace('@', '-')}{'-folds' if card['basis'] == 'recipe' else ''}"
        (store / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
        (store / f"{name}.html").write_text(report.html(card))
    kept = {file.stem: json.loads(file.read_text()) for file in sorted(store.glob("*.json"))}
    files = {f"{card['scenario']['name']} {card['model']}": f"{name}.html" for name, card in kept.items()}
    (store / "index.html").write_text(report.board(list(kept.values()), files))


def _list(as_json: bool) -> None:
    from edge_agent.lab import catalog
    from edge_agent.lab.report import columns

    cards = [catalog.load(name).card for name in catalog.names()]
    rows = [{"name": c.name, "metric": c.metric, "title": c.title, "split": c.split, "data": c.data} for c in cards]
    show(rows, as_json, lambda found: "\n".join(columns([[r["name"], r["metric"], r["title"]] for r in found])))
