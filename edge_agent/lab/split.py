"""Which runs may a model be trained on, and is the same run, or a twin of it, on both sides?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.lab.data import DataRefused, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One way to divide the runs: by their names."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


def check(fold: Fold, runs: Sequence[Run]) -> Fold:
    """The fold, unless something stands on both sides: a run, a group, or equal values under two names. DataRefused."""
    known = {run.name: run for run in runs}
    if missing := [n for n in (*fold.train, *fold.test) if n not in known]:
        raise DataRefused(f"split {fold.name}: there is no run {missing[0]!r}; take the names that the loader gives")
    if not fold.test or not fold.train:
        raise DataRefused(f"split {fold.name}: {len(fold.train)} runs to train on and {len(fold.test)} to test on; both sides need some")
    sides = [[known[n] for n in names] for names in (fold.train, fold.test)]
    keys: tuple[tuple[str, Callable[[Run], str], str], ...] = (
        ("run", lambda r: r.name, "name each run once"),
        ("group", lambda r: r.together, "keep all runs of a group on one side"),
        ("values of run", lambda r: r.hash, "give identical recordings one group"),
    )
    for what, key, cure in keys:
        train = {key(r): r.name for r in sides[0]}
        if twice := [r for r in sides[1] if key(r) in train]:
            one, two = train[key(twice[0])], twice[0].name
            raise DataRefused(f"split {fold.name} leaks: the {what} {two!r} is on both sides (as {one!r} in training); {cure}")
    return fold


def by_group(runs: Sequence[Run], folds: int, seed: int, *, strata: Mapping[str, str] | None = None) -> tuple[Fold, ...]:
    """Whole groups, dealt to `folds` test sets in a seeded order, each stratum (by name of the group) dealt by itself. DataRefused."""
    groups = sorted({run.together for run in runs})
    if len(groups) < folds:
        raise DataRefused(f"{len(groups)} groups of runs cannot be divided into {folds} folds; give more data or fewer folds")
    rng = np.random.default_rng(seed)
    order = [groups[i] for i in rng.permutation(len(groups))]
    order.sort(key=lambda g: (strata or {}).get(g, ""))  # stable: seeded within a stratum
    place = {group: i % folds for i, group in enumerate(order)}
    return tuple(_fold(f"{k + 1}/{folds}", runs, {g for g in groups if place[g] == k}) for k in range(folds))


def holding_out(runs: Sequence[Run], groups: Collection[str], name: str) -> Fold:
    """The fold that tests on these groups. DataRefused."""
    return _fold(name, runs, set(groups))


def _fold(name: str, runs: Sequence[Run], held: set[str]) -> Fold:
    test = tuple(r.name for r in runs if r.together in held)
    return check(Fold(name=name, train=tuple(r.name for r in runs if r.together not in held), test=test), runs)
