"""Hydraulic pump rig: in which state are its four components, in blocks of operation that were never seen?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab import metrics
from edge_agent.lab.catalog import Card, Figure, Target
from edge_agent.lab.data import Channel, DataRefused, Episode, Run, unique
from edge_agent.lab.heard import Bools, Heard
from edge_agent.lab.naming import number, of_target, truths
from edge_agent.lab.split import Fold, by_group

TARGETS = ("cooler", "valve", "pump", "accumulator")  # columns of profile.txt
ROWS, SEED = 60, 0
CHANNELS = tuple(
    Channel(name=name, unit=unit, aliases=(long,))
    for name, unit, long in (
        ("CE", "%", "cooling_efficiency"),
        ("CP", "kW", "cooling_power"),
        ("SE", "%", "efficiency"),
        ("TS1", "degC", "temperature1"),
        ("TS2", "degC", "temperature2"),
        ("TS3", "degC", "temperature3"),
        ("TS4", "degC", "temperature4"),
        ("VS1", "mm/s", "vibration"),
    )
)


class Scenario:
    """One window a cycle of 60 s; blocks of equal joint condition stay together."""

    card = Card(
        name="uci_hydraulic_1hz",
        folder="uci_hydraulic_1hz",
        title="UCI hydraulic rig, eight 1 Hz channels, split by block",
        data="ZeMA condition monitoring of hydraulic systems: Helwig et al., I2MTC 2015; Schneider et al., tm 84(3) 2017",
        licence="CC BY 4.0",
        split="whole blocks of equal joint condition, 5 folds; one window a cycle",
        metric="pump_accuracy",
        channels=CHANNELS,
        every_s=1.0,
        rows=(1, ROWS),
        published=(
            Figure(
                who="extra trees, by block",
                figures={"cooler_accuracy": 1.000, "pump_accuracy": 0.981, "accumulator_accuracy": 0.765, "valve_accuracy": 0.312},
                source="measured with this project's split",
                note="cycles split at random: 1.000 / 0.991 / 0.975 / 0.907",
            ),
            Figure(
                who="ALA + RFESVM, all 17 sensors",
                figures={"accumulator_accuracy": 0.9965},
                source="documentation.txt of the data set [3]",
                note="100 Hz channels, cycles at random",
            ),
        ),
        targets=(
            Target(metric="pump_accuracy", at=">=", value=0.985),
            Target(metric="cooler_accuracy", at=">=", value=1.0),
            Target(metric="accumulator_accuracy", at=">=", value=0.80),
        ),
        traps=("neighbouring cycles are nearly equal: a split at random scores what it has seen",),
    )

    def load(self, folder: Path) -> tuple[Run, ...]:
        """One run a block (`block-17`): its cycles one behind the other. DataRefused."""
        values = np.stack([_table(folder / f"{c.name}.txt") for c in CHANNELS], axis=-1)  # [cycles, 60, channels]
        state, block = _table(folder / "profile.txt"), _table(folder / "block.txt")[:, 0].astype(int)
        if not len(values) == len(state) == len(block) or values.shape[1] != ROWS:
            raise DataRefused(
                f"{folder}: {len(values)} cycles of {values.shape[1]} rows, {len(state)} states, {len(block)} blocks; they must agree"
            )
        return unique([_run(values, state, block, b) for b in np.unique(block)], str(folder))

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """Five, by block."""
        return by_group(runs, 5, SEED)

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """Each block, a window every cycle."""
        return tuple(Episode(run=r.name, group=r.together, values=r.values, truth=r.truth, hop=ROWS) for r in runs)

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """Accuracy and macro F1 of each component that the model names, and what novelty refuses."""
        found: dict[str, float] = {}
        for target in named(heard):
            figures = metrics.classification(of_target(heard, target, number), truths(heard, target))
            found |= {f"{target}_{name}": value for name, value in figures.items()}
        return found | {"refused_clean": float(np.concatenate([h.refused() for h in heard]).mean())}

    def right(self, heard: Sequence[Heard]) -> Bools | None:
        """Four answers in one: none is right or wrong as a whole."""
        return None

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """Always the most frequent state of each component."""
        guess: dict[str, float] = {}
        for target in TARGETS:
            true = truths(heard, target)
            names, counts = np.unique(true, return_counts=True)
            same = metrics.classification([str(names[counts.argmax()])] * len(true), list(true))
            guess |= {f"{target}_{name}": value for name, value in same.items()}
        return {"always the most frequent state": guess}


def named(heard: Sequence[Heard]) -> list[str]:
    """The components that the model says anything of. DataRefused if it names none."""
    labels = {label.casefold() for h in heard for d in h.said[:1] for label in d.probabilities}
    found = [target for target in TARGETS if any(label.startswith(target) for label in labels)]
    if not found:
        raise DataRefused(f"the model names none of {', '.join(TARGETS)}; call its labels like `pump=1`")
    return found


def _table(file: Path) -> NDArray[np.float64]:
    try:
        return np.atleast_2d(np.loadtxt(file, ndmin=2))
    except (OSError, ValueError) as e:
        raise DataRefused(f"{file}: cannot be read: {e}; name the folder that holds CE.txt, profile.txt, block.txt ...") from e


def _run(values: NDArray[np.float64], state: NDArray[np.float64], block: NDArray[np.int64], number_: int) -> Run:
    mine = block == number_
    truth = {t: np.repeat(state[mine, i].astype(int).astype(str), ROWS) for i, t in enumerate(TARGETS)}
    return Run(name=f"block-{number_}", values=values[mine].reshape(-1, len(CHANNELS)).astype(np.float32), truth=truth)
