"""How good is a recipe? It is run once a fold, told what not to look at, and what it made is judged on just that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose.bundle import Bundle
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.lab import catalog, evaluate
from edge_agent.lab.data import DataRefused, Run
from edge_agent.lab.heard import Heard, listen
from edge_agent.lab.split import Fold, check

_RACE = 500
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def judge(
    recipe: Path, name: str, data: Path, *, say: evaluate.Say, python: str = sys.executable, timeout_s: float = 3600.0
) -> dict[str, Any]:
    """The report card of a recipe: every fold's bundle on its held-out runs, all together and each by itself. DataRefused, ModelRefused."""
    scenario = catalog.load(name)
    folder = evaluate.where(data, scenario)
    runs = scenario.load(folder)
    folds = scenario.folds(runs)
    pooled: dict[str, list[Heard]] = {}
    single: list[Heard] = []
    each, made, unproven = [], None, 0
    for i, fold in enumerate(folds):
        check(fold, runs)
        say(f"{recipe}: fold {i + 1} of {len(folds)}, {fold.name}: {len(fold.train)} runs to train on, {len(fold.test)} to judge")
        with tempfile.TemporaryDirectory(prefix="fold-") as scratch:
            made = trained(recipe, folder, fold, Path(scratch), python=python, timeout_s=timeout_s)
            unproven += refuse_leak(made, fold, runs)
            heard = _heard(made, scenario, fold, runs)
            single += _single(made, scenario, fold, runs)
        for kind, said in heard.items():
            pooled.setdefault(kind, []).extend(said)
        each.append({"fold": fold.name, "test": list(fold.test), "figures": scenario.judge(heard[evaluate.kind(made.model)])})
    if made is None:
        raise DataRefused(f"{name}: its split rule gives no fold for the runs in {folder}")
    note = f"recipe judged on {len(folds)} folds; no model saw a run of its own fold"
    note += (
        f"; {unproven} of its cards do not list their runs (provenance.runs): only the recipe's word stands for them" if unproven else ""
    )
    card = evaluate.card(scenario, made, pooled, basis="recipe", note=note) | {"folds": each, "recipe": str(recipe)}
    card |= {"single_window": scenario.judge(single)} if single else {}
    card["cost"] = evaluate.cost(made, _RACE)
    return evaluate.with_general(card, made, picture=runs[0].values.ndim > 2)


def trained(recipe: Path, data: Path, fold: Fold, scratch: Path, *, python: str, timeout_s: float) -> Bundle:
    """Run the recipe for one fold and read what it wrote. EdgeAgentError with its last words, ModelRefused."""
    names, out = scratch / "without.json", scratch / "bundle"
    names.write_text(json.dumps(sorted(fold.test)))
    words = [python, str(recipe), "--data", str(data), "--out", str(out), "--without", str(names)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": path}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)  # noqa: S603 - the user's own recipe
    except (OSError, subprocess.TimeoutExpired) as e:
        raise EdgeAgentError(
            f"{recipe}: fold {fold.name}: {e}; a recipe takes --data, --out and --without (docs/decisions/0006-lab.md)"
        ) from e
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise EdgeAgentError(
            f"{recipe}: fold {fold.name}: ended with {done.returncode}; a recipe takes --data, --out and --without:\n{last}"
        )
    return bundles.read(out, dev=True)


def refuse_leak(made: Bundle, fold: Fold, runs: Sequence[Run]) -> bool:
    """Whether the card lists nothing, so that nothing can be proven. ModelRefused if it lists a run that was to be left out."""
    listed = made.card.provenance.runs
    test = [run for run in runs if run.name in fold.test]
    leaked = [r.name for r in test if r.name in listed or r.hash in listed.values()]
    if leaked:
        raise ModelRefused(
            f"{made.id}: fold {fold.name} leaks: its card says it was trained on {', '.join(leaked[:5])}, which it was told to leave out; "
            "mend the recipe's --without"
        )
    return not listed


def _heard(made: Bundle, scenario: catalog.Scenario, fold: Fold, runs: Sequence[Run]) -> dict[str, tuple[Heard, ...]]:
    episodes = scenario.episodes([run for run in runs if run.name in fold.test])
    return {kind: listen(made, graph, episodes, scenario.card) for kind, graph in evaluate.graphs(made).items()}


def _single(made: Bundle, scenario: catalog.Scenario, fold: Fold, runs: Sequence[Run]) -> tuple[Heard, ...]:
    """Each window by itself, where the card smooths over several."""
    if made.card.smoothing.median == 1:
        return ()
    episodes = scenario.episodes([run for run in runs if run.name in fold.test])
    return listen(made, made.model, episodes, scenario.card, smooth=1)
