"""Petrochemical process: how many faults are found at one false alarm in a hundred rows, and how many are named rightly?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.lab import metrics
from edge_agent.lab.catalog import Card, Figure, Target
from edge_agent.lab.data import Channel, DataRefused, Episode, Run, unique
from edge_agent.lab.heard import Bools, Heard
from edge_agent.lab.naming import number, single, truths
from edge_agent.lab.split import Fold, check

TARGET, ONSET, EVERY_S = "state", 160, 180.0  # row after which the fault enters in dNN_te.dat; one row per 3 min
HARD = frozenset({"3", "9", "15"})  # no deviation that anybody could show: left out, as everywhere
CHANNELS = tuple(
    Channel(name=f"xmeas_{i}", unit=None, aliases=(f"xmeas{i}", f"xmeas_{i:02}", f"xmeas{i:02}")) for i in range(1, 42)
) + tuple(Channel(name=f"xmv_{i}", unit=None, aliases=(f"xmv{i}", f"xmv_{i:02}", f"xmv{i:02}")) for i in range(1, 12))


class Scenario:
    """Trained on dNN.dat, judged on dNN_te.dat, as everywhere; another simulation run."""

    card = Card(
        name="tep",
        folder="tep",
        title="Tennessee Eastman process, Braatz files",
        data="github.com/camaramm/tennessee-eastman-profBraatz commit 06433188; Russell, Chiang & Braatz 2000",
        licence="NCSA style, redistribution with notice",
        split="dNN.dat to train on, dNN_te.dat (another run of the simulation) to judge on; faults 3, 9, 15 left out of the rate",
        metric="detection_rate",
        channels=CHANNELS,
        every_s=EVERY_S,
        rows=(1, ONSET),
        published=(
            Figure(
                who="PCA, SPE at its 99 % limit",
                figures={"detection_rate": 0.811, "false_alarm_rate": 0.083},
                source="measured on all 22 test files of the data set",
            ),
            Figure(
                who="extra trees, 19 classes", figures={"diagnosis_accuracy": 0.871}, source="measured on all 22 test files of the data set"
            ),
        ),
        targets=(
            Target(metric="false_alarm_rate", at="<=", value=0.01),
            Target(metric="detection_rate", at=">=", value=0.85),
            Target(metric="diagnosis_accuracy", at=">=", value=0.90),
        ),
        traps=("the fault always enters after row 160: a clock finds every one",),
    )

    def load(self, folder: Path) -> tuple[Run, ...]:
        """Each file is a run: d00, d00_te, d01 ... DataRefused."""
        return unique([_read(f) for f in sorted(folder.glob("d[0-9][0-9]*.dat"))], str(folder))

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """One: the test files."""
        sides = {side: tuple(r.name for r in runs if r.name.endswith("_te") == side) for side in (False, True)}
        return (check(Fold(name="dNN_te.dat", train=sides[False], test=sides[True]), runs),)

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """Each file from its first row."""
        return tuple(Episode(run=r.name, group=r.together, values=r.values, truth=r.truth) for r in runs)

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """False alarms on normal runs (on normal rows without one), detection by row, delay, accuracy over the 19 classes."""
        known = [h for h in heard if not set(h.truth[TARGET]) & HARD]
        faulty = [h for h in known if (h.truth[TARGET] != "0").any()]
        normal = [h for h in known if h not in faulty] or known
        found = {"false_alarm_rate": _share([h.alarm[h.truth[TARGET] == "0"] for h in normal])}
        if faulty:
            found["detection_rate"] = float(np.mean([h.alarm[h.truth[TARGET] != "0"].mean() for h in faulty]))
            rows = metrics.detection([(h.alarm, h.truth[TARGET] != "0") for h in faulty], EVERY_S)
            found |= {name: rows[name] for name in ("median_delay_s", "events", "missed_events")}
        if any(d.label for h in known for d in h.said):
            named = metrics.classification(single(known, read), truths(known, TARGET))
            found |= {"diagnosis_accuracy": named["accuracy"], "diagnosis_macro_f1": named["macro_f1"]}
        found["refused_clean"] = _share([h.refused()[h.truth[TARGET] == "0"] for h in known])
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def right(self, heard: Sequence[Heard]) -> Bools | None:
        """Whether the label is the true one."""
        return np.asarray(single(heard, read) == truths(heard, TARGET))

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """An alarm that never ends, and one that begins after row 160."""
        share = float((truths(heard, TARGET) == "0").mean())
        return {
            "always alarm": {"false_alarm_rate": 1.0, "detection_rate": 1.0, "diagnosis_accuracy": 0.0},
            "always normal": {"false_alarm_rate": 0.0, "detection_rate": 0.0, "diagnosis_accuracy": share},
            "clock (alarm from row 160)": _clock(heard),
        }


def read(label: str) -> str:
    """A card's word for a state as the fault's number; 0 is normal."""
    return "0" if label.casefold().startswith(("normal", "ok")) else number(label)


def _clock(heard: Sequence[Heard]) -> dict[str, float]:
    series = [(h.end >= ONSET, h.truth[TARGET] != "0") for h in heard]
    rate = [float(a[t].mean()) for a, t in series if t.any()]
    normal = _share([a[~t] for a, t in series if not t.any()])
    return {"detection_rate": float(np.mean(rate or [0.0]))} | ({"false_alarm_rate": normal} if np.isfinite(normal) else {})


def _share(flags: Sequence[np.ndarray]) -> float:
    pooled_ = np.concatenate(flags) if flags else np.empty(0)
    return float(pooled_.mean()) if pooled_.size else float("nan")


def _read(file: Path) -> Run:
    try:
        values = np.loadtxt(file, dtype=np.float32, ndmin=2)
    except (OSError, ValueError) as e:
        raise DataRefused(f"{file}: cannot be read: {e}") from e
    values = values.T if values.shape[0] == len(CHANNELS) and values.shape[1] != len(CHANNELS) else values  # d00.dat lies on its side
    fault = re.fullmatch(r"d(\d\d)(_te)?", file.stem)
    if fault is None or values.shape[1] != len(CHANNELS):
        raise DataRefused(f"{file}: {values.shape[1]} columns; expected a file dNN.dat or dNN_te.dat of {len(CHANNELS)} columns")
    kind = str(int(fault[1]))
    truth = np.full(len(values), kind, dtype="<U2")
    truth[: ONSET if fault[2] else 0] = "0"
    return Run(name=file.stem, values=np.ascontiguousarray(values), truth={TARGET: truth})
