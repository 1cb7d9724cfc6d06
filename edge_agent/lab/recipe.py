"""What does a training recipe share with the benchmark that judges it? Its arguments, its runs, and their list for the card.

args = recipe.arguments(__doc__).parse_args()
runs = recipe.runs("skab", args.data, recipe.withheld(args.without))
card["provenance"]["runs"] = recipe.listed(runs)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from edge_agent.lab import catalog
from edge_agent.lab.data import DataRefused, Run


def arguments(description: str | None, out: Path | None = None) -> argparse.ArgumentParser:
    """--data, --out, --without: what `models evaluate --folds` gives to each recipe. A recipe may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--out", type=Path, default=out, required=out is None, help="where the bundle goes")
    parser.add_argument("--without", type=Path, help="JSON list of runs or groups that must not be looked at; no cross-validation then")
    return parser


def withheld(file: Path | None) -> frozenset[str]:
    """The names in a --without file; none without a file. DataRefused."""
    if file is None:
        return frozenset()
    try:
        names = json.loads(file.read_text())
    except (OSError, ValueError) as e:
        raise DataRefused(f"{file}: cannot be read as JSON ({e}); write a list of names of runs") from e
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataRefused(f"{file}: must be a list of names of runs")
    return frozenset(names)


def runs(scenario: str, data: Path, without: Collection[str] = ()) -> tuple[Run, ...]:
    """The scenario's runs but those withheld by their name or their group. DataRefused for a name that is none."""
    found = catalog.load(scenario).load(data)
    names = {name for run in found for name in (run.name, run.together)}
    if strange := sorted(set(without) - names):
        raise DataRefused(f"{scenario}: there is no run or group {strange[0]!r} to leave out")
    left = tuple(run for run in found if run.name not in without and run.together not in without)
    if not left:
        raise DataRefused(f"{scenario}: every run is left out; there is nothing to train on")
    return left


def listed(used: Sequence[Run]) -> dict[str, str]:
    """For the card's `provenance.runs`: name -> hash of the values."""
    return {run.name: run.hash for run in used}
