"""Does a split that leaks refuse to be one?"""

import numpy as np
import pytest

from edge_agent.lab.data import DataRefused, Run
from edge_agent.lab.split import Fold, by_group, check, holding_out


def run(name: str, group: str = "", seed: int | None = None) -> Run:
    drawn = np.random.default_rng(int.from_bytes(name.encode(), "big") if seed is None else seed)  # hash() differs from run to run
    values = drawn.normal(size=(4, 2)).astype(np.float32)
    return Run(name=name, group=group, values=values, truth={"state": np.array(["normal"] * 4)})


RUNS = [run(f"r{i}", group=f"g{i // 2}") for i in range(8)]


def test_the_same_run_on_both_sides_is_refused() -> None:
    with pytest.raises(DataRefused, match=r"leaks: the run 'r1' is on both sides"):
        check(Fold(name="x", train=("r0", "r1"), test=("r1",)), RUNS)


def test_two_runs_of_one_group_on_both_sides_are_refused() -> None:
    with pytest.raises(DataRefused, match=r"leaks: the group 'r1'.*keep all runs of a group on one side"):
        check(Fold(name="x", train=("r0",), test=("r1",)), RUNS)


def test_a_recording_under_two_names_is_refused() -> None:
    twins = [run("a", seed=1), run("b", seed=1)]
    with pytest.raises(DataRefused, match=r"leaks: the values of run 'b' is on both sides \(as 'a' in training\)"):
        check(Fold(name="x", train=("a",), test=("b",)), twins)


def test_an_empty_side_and_an_unknown_run_are_refused() -> None:
    with pytest.raises(DataRefused, match=r"both sides need some"):
        check(Fold(name="x", train=("r0",), test=()), RUNS)
    with pytest.raises(DataRefused, match=r"there is no run 'r9'"):
        check(Fold(name="x", train=("r9",), test=("r0",)), RUNS)


def test_folds_by_group_tear_nothing_apart_and_judge_every_run_once() -> None:
    folds = by_group(RUNS, 3, seed=0)
    assert sorted(name for f in folds for name in f.test) == sorted(r.name for r in RUNS)
    assert folds == by_group(list(reversed(RUNS))[::-1], 3, seed=0)
    with pytest.raises(DataRefused, match=r"4 groups of runs cannot be divided into 5 folds"):
        by_group(RUNS, 5, seed=0)


def test_holding_out_takes_whole_groups() -> None:
    assert holding_out(RUNS, {"g1"}, "g1").test == ("r2", "r3")
