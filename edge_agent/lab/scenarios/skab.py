"""Pump and valve water loop, Protocol C: does it find a fault without looking at a clock or into the future?"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.lab import metrics
from edge_agent.lab.catalog import Card, Figure, Target
from edge_agent.lab.data import Channel, DataRefused, Episode, Run, unique
from edge_agent.lab.heard import Bools, Heard
from edge_agent.lab.split import Fold, by_group

CHANNELS = (
    Channel(name="vibration1", unit="g", aliases=("Accelerometer1RMS", "accelerometer1")),
    Channel(name="vibration2", unit="g", aliases=("Accelerometer2RMS", "accelerometer2")),
    Channel(name="current", unit="A"),
    Channel(name="pressure", unit="bar"),
    Channel(name="temperature", unit="degC"),
    Channel(name="thermocouple", unit="degC"),
    Channel(name="voltage", unit="V"),
    Channel(name="flow", unit="l/min", aliases=("VolumeFlowRateRMS",)),
)
DATA = "SKAB v0.9, github.com/waico/SKAB commit b2c0d46c, doi 10.34740/KAGGLE/DSV/1693952"
HEADER = "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;Volume Flow RateRMS"
CALIBRATION, LONGEST_CUT, REPEATS, SEED = 200, 300, 3, 0
TARGET = "state"
PUBLISHED = (
    Figure(
        who="PCA T2+Q, causal, median of 15 s",
        figures={"f1": 0.742, "false_alarm_rate": 0.159, "missed_alarm_rate": 0.227},
        source="measured with this project's Protocol C",
    ),
    Figure(who="clock (rows 572-971 of a run)", figures={"f1": 0.610}, source="measured with this project's Protocol C"),
)


class Scenario:
    """Causal, no row number; 200 rows to calibrate on; 0-300 rows cut from each run's start; one normal-only episode a run."""

    card = Card(
        name="skab",
        folder="skab",
        title="SKAB pump and valve loop, Protocol C",
        data=DATA,
        licence="GPL-3.0",
        split="whole runs, 5 folds, dealt by folder; causal; 0-300 rows cut from each start, 200 rows to calibrate on, the rest judged; "
        "one normal-only episode a run",
        metric="f1",
        channels=CHANNELS,
        every_s=1.0,
        rows=(1, CALIBRATION),
        published=PUBLISHED,
        targets=(
            Target(metric="f1", at=">=", value=0.80),
            Target(metric="false_alarm_rate", at="<=", value=0.10),
            Target(metric="median_delay_s", at="<=", value=10.0),
        ),
        traps=("always-alarm scores about 0.6", "temperature and thermocouple drift with the time since start: they act as a clock"),
    )

    def load(self, folder: Path) -> tuple[Run, ...]:
        """The CSVs of `data/` (or of a folder above it); the run without faults is called `anomaly-free`. DataRefused."""
        home = folder / "data" if (folder / "data").is_dir() else folder
        files = sorted(f for f in home.glob("*/*.csv"))
        return unique([_read(f) for f in files], str(folder))

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """Five, by run; the run without faults is always for training."""
        labelled = [run for run in runs if run.name != "anomaly-free/anomaly-free"]
        quiet = tuple(run.name for run in runs if run not in labelled)
        made = by_group(labelled, 5, SEED, strata={run.name: run.name.split("/")[0] for run in labelled})
        return tuple(Fold(name=f.name, train=(*f.train, *quiet), test=f.test) for f in made)

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """Three random starts of each labelled run, and one stretch of it in which nothing is wrong."""
        return tuple(e for run in runs if (run.truth[TARGET] == "fault").any() for e in _episodes(run))

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """F1, false and missed alarms by row, delay, missed events, false episodes an hour, and what novelty refuses."""
        return judged(heard)

    def right(self, heard: Sequence[Heard]) -> Bools | None:
        """Whether the alarm is on exactly when something is wrong."""
        return np.concatenate([h.alarm == (h.truth[TARGET] == "fault") for h in heard])

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """An alarm that never ends, the clock that beats the leaderboard, and the best clock that could be found knowing the truth."""
        return guesses(heard)


def _read(file: Path) -> Run:
    try:
        with file.open(newline="") as lines:
            head, *rows = list(csv.reader(lines, delimiter=";"))
        values = np.array([[float(cell) for cell in row[1:9]] for row in rows], dtype=np.float32)
        flags = np.array([len(row) > 9 and float(row[9]) > 0 for row in rows])
    except (OSError, ValueError) as e:
        raise DataRefused(f"{file}: not a SKAB file: {e}") from e
    if ";".join(head[:9]) != HEADER or values.ndim != 2:
        raise DataRefused(f"{file}: its columns are {';'.join(head[:9])!r}; SKAB's are {HEADER!r}")
    return Run(name=f"{file.parent.name}/{file.stem}", values=values, truth={TARGET: np.where(flags, "fault", "normal")})


def _episodes(run: Run) -> list[Episode]:
    rng = np.random.default_rng([SEED, zlib.crc32(run.name.encode())])  # the same cuts, whichever other runs are there
    onset = int(np.argmax(run.truth[TARGET] == "fault"))
    late = onset >= CALIBRATION + LONGEST_CUT
    cuts = rng.integers(0, LONGEST_CUT + 1, REPEATS + 1) if late else np.zeros(REPEATS + 1, dtype=int)
    made = [_cut(run, int(cuts[i]), len(run.values), i) for i in range(REPEATS if late else 1)]
    normal = _cut(run, int(cuts[-1]) // 4, onset, REPEATS, normal_only=True)
    return [*made, normal] if len(normal.values) > CALIBRATION + 30 else made


def _cut(run: Run, begin: int, end: int, repeat: int, *, normal_only: bool = False) -> Episode:
    return Episode(
        run=run.name,
        group=run.together,
        values=run.values[begin:end],
        truth={TARGET: run.truth[TARGET][begin:end]},
        first=CALIBRATION,
        repeat=repeat,
        normal_only=normal_only,
    )


def judged(heard: Sequence[Heard]) -> dict[str, float]:
    """Detection figures, novelty's refusals of normal rows, and how good the alarms are that the agent may act upon."""
    found = metrics.detection([(h.alarm, h.truth[TARGET] == "fault") for h in heard], 1.0)
    normal = np.concatenate([h.refused()[h.truth[TARGET] == "normal"] for h in heard])
    acted = metrics.detection([(h.alarm & h.evidence, h.truth[TARGET] == "fault") for h in heard], 1.0)
    return found | {"refused_clean": float(normal.mean())} | {f"acted_{k}": v for k, v in acted.items() if k == "f1"}


def guesses(heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
    """Figures of an alarm that never ends and of two clocks."""
    series = [(np.ones(len(h.alarm), dtype=bool), h.truth[TARGET] == "fault") for h in heard]
    begin, end = metrics.best_clock(series)
    first = heard[0].episode.first
    return {
        "always alarm": metrics.detection(series, 1.0),
        "clock (rows 572-971 of what it is shown)": metrics.detection(metrics.clock(series, 572 - first, 972 - first), 1.0),
        f"best of all clocks (rows {begin + first}-{end + first})": metrics.detection(metrics.clock(series, begin, end), 1.0),
    }
