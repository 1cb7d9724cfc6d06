"""Does each benchmark read its data as they lie on disk, refuse what is not theirs, and never tear a run apart?"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.lab import catalog, recipe
from edge_agent.lab.data import DataRefused
from edge_agent.lab.scenarios import skab, tep


def skab_csv(file: Path, rows: int, onset: int | None, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(size=(rows, 8)).round(4)
    tail = [f";{float(onset <= i < onset + 300)};0.0" if onset is not None else "" for i in range(rows)]
    head = skab.HEADER + (";anomaly;changepoint" if onset is not None else "")
    lines = [f"2020-03-09 10:14:{i % 60:02};{';'.join(map(str, row))}{tail[i]}" for i, row in enumerate(values.tolist())]
    file.write_text("\n".join([head, *lines]) + "\n")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("skab")
    skab_csv(home / "data/anomaly-free/anomaly-free.csv", 900, None, 0)
    for i in range(6):
        skab_csv(home / f"data/valve1/{i}.csv", 1000, 570, i + 1)
    skab_csv(home / "data/other/2.csv", 1000, 104, 99)
    return home


def test_every_scenario_has_a_card_that_says_where_its_figures_come_from() -> None:
    for name in catalog.names():
        card = catalog.load(name).card
        assert card.targets, name
        assert card.split, name
        assert card.licence, name
        assert all(figure.source for figure in card.published), name


def test_an_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(DataRefused, match=r"no scenario 'skap'; there are: .*skab"):
        catalog.load("skap")


def test_protocol_c_cuts_the_start_at_random_and_the_same_way_each_time(loop: Path) -> None:
    task = catalog.load("skab")
    runs = task.load(loop)
    one, two = task.episodes(runs), task.episodes(list(runs)[::-1])
    lengths = {(e.run, e.repeat): len(e.values) for e in one}
    assert lengths == {(e.run, e.repeat): len(e.values) for e in two}
    assert len({n for (_, repeat), n in lengths.items() if repeat < 3}) > 3
    assert {e.first for e in one} == {200}
    normal = [e for e in one if e.normal_only]
    assert len(normal) == 6
    assert all((e.truth["state"] == "normal").all() for e in normal)


def test_the_run_without_faults_is_never_judged(loop: Path) -> None:
    task = catalog.load("skab")
    folds = task.folds(task.load(loop))
    assert all("anomaly-free/anomaly-free" in f.train for f in folds)
    assert sorted(n for f in folds for n in f.test) == ["other/2", *(f"valve1/{i}" for i in range(6))]


def test_a_file_with_other_columns_is_refused(loop: Path, tmp_path: Path) -> None:
    bad = tmp_path / "data/valve1/0.csv"
    bad.parent.mkdir(parents=True)
    bad.write_text((loop / "data/valve1/0.csv").read_text().replace("Pressure", "Druck"))
    with pytest.raises(DataRefused, match=r"its columns are .*Druck"):
        catalog.load("skab").load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    for name in ("skab", "tep", "uci_accelerometer", "uci_hydraulic_1hz", "xsdd"):
        with pytest.raises(DataRefused):
            catalog.load(name).load(tmp_path)


def test_the_fan_is_split_by_whole_speeds(lab: SimpleNamespace, tmp_path: Path) -> None:
    task = catalog.load("uci_accelerometer")
    runs = task.load(lab.write_csv(tmp_path))
    folds = task.folds(runs)
    assert [f.name for f in folds] == ["without 20 %", "without 30 %", "without 40 %", "without 50 %"]
    assert folds[0].test == ("normal@20", "unbalanced_perpendicular@20", "unbalanced_opposite@20")


def test_the_hydraulic_rig_is_split_by_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for channel in ("CE", "CP", "SE", "TS1", "TS2", "TS3", "TS4", "VS1"):
        np.savetxt(tmp_path / f"{channel}.txt", rng.normal(size=(30, 60)), delimiter="\t", fmt="%.3f")
    np.savetxt(tmp_path / "profile.txt", np.repeat([[3, 100, 0, 130, 1]], 30, axis=0), fmt="%d")
    np.savetxt(tmp_path / "block.txt", np.arange(30) // 3, fmt="%d")
    task = catalog.load("uci_hydraulic_1hz")
    runs = task.load(tmp_path)
    assert [r.name for r in runs][:3] == ["block-0", "block-1", "block-2"]
    assert runs[0].values.shape == (180, 8)
    assert runs[0].truth["pump"][0] == "0"
    assert sum(len(f.test) for f in task.folds(runs)) == 10
    np.savetxt(tmp_path / "block.txt", np.arange(29), fmt="%d")
    with pytest.raises(DataRefused, match=r"30 cycles of 60 rows, 30 states, 29 blocks; they must agree"):
        task.load(tmp_path)


def test_the_process_is_judged_on_its_test_files_and_knows_where_the_fault_enters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "d00.dat", rng.normal(size=(52, 500)))
    np.savetxt(tmp_path / "d01.dat", rng.normal(size=(480, 52)))
    for name in ("d00_te", "d01_te"):
        np.savetxt(tmp_path / f"{name}.dat", rng.normal(size=(200, 52)))
    task = catalog.load("tep")
    runs = {r.name: r for r in task.load(tmp_path)}
    assert runs["d00"].values.shape == (500, 52)
    assert list(runs["d01_te"].truth["state"][[159, 160]]) == ["0", "1"]
    assert (runs["d01"].truth["state"] == "1").all()
    (fold,) = task.folds(list(runs.values()))
    assert fold.test == ("d00_te", "d01_te")
    assert [tep.read(label) for label in ("normal", "fault 07", "IDV(12)", "fault3")] == ["0", "7", "12", "3"]


def test_identical_pictures_stay_on_one_side(tmp_path: Path) -> None:
    import cv2

    rng = np.random.default_rng(0)
    for kind in ("red iron", "slag inclusion"):
        (tmp_path / "datas" / kind).mkdir(parents=True)
        for i in range(10):
            cv2.imwrite(str(tmp_path / "datas" / kind / f"{i}.png"), rng.integers(0, 255, (16, 16), dtype=np.uint8))
    twin = tmp_path / "datas/red iron/99.png"
    twin.write_bytes((tmp_path / "datas/red iron/0.png").read_bytes())
    for name in ("xsdd", "xsdd-by-number"):
        task = catalog.load(name)
        folds = task.folds(task.load(tmp_path))
        for fold in folds:
            assert ("red iron/0.png" in fold.test) == ("red iron/99.png" in fold.test)
    assert len(folds) == 1


def test_a_recipe_gets_its_runs_but_those_withheld(lab: SimpleNamespace, tmp_path: Path) -> None:
    data = lab.write_csv(tmp_path)
    names = tmp_path / "without.json"
    names.write_text('["30", "normal@20"]')
    runs = recipe.runs("uci_accelerometer", data, recipe.withheld(names))
    assert {r.name for r in runs} & {"normal@20", "normal@30", "unbalanced_opposite@30"} == set()
    assert len(runs) == 8
    assert recipe.listed(runs)["normal@40"] == next(r.hash for r in runs if r.name == "normal@40")
    with pytest.raises(DataRefused, match=r"no run or group '35' to leave out"):
        recipe.runs("uci_accelerometer", data, ["35"])
    names.write_text("{}")
    with pytest.raises(DataRefused, match=r"must be a list of names of runs"):
        recipe.withheld(names)
