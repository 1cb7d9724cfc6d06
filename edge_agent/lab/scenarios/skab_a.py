"""Pump and valve water loop, Protocol A: how does it compare with the public leaderboard?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_agent.lab.catalog import Figure, Target
from edge_agent.lab.data import Episode, Run
from edge_agent.lab.heard import Bools, Heard
from edge_agent.lab.scenarios import skab
from edge_agent.lab.split import Fold

FITTED = 400  # rows of each run that the public protocol fits on: core/utils.py upstream
_SOURCE = "github.com/waico/SKAB README, leaderboard"


def _row(who: str, f1: float, far: float, mar: float, note: str = "", source: str = _SOURCE) -> Figure:
    return Figure(who=who, figures={"f1": f1, "false_alarm_rate": far, "missed_alarm_rate": mar}, source=source, note=note)


class Scenario:
    """Per run: the first 400 rows are known, the rest is judged, all rows together. A clock beats it: see Protocol C (`skab`)."""

    card = replace(
        skab.Scenario.card,
        name="skab-a",
        title="SKAB pump and valve loop, public protocol (A)",
        split="whole runs, 5 folds; in each run rows 400 to the end are judged; causal",
        rows=(1, FITTED),
        published=(
            _row("Conv-AE", 0.78, 0.1355, 0.2802, "not causal: a row is judged with up to 59 later rows"),
            _row("MSET", 0.78, 0.3973, 0.1413),
            _row("T2+Q", 0.76, 0.2662, 0.2492),
            _row("LSTM-AE", 0.74, 0.2996, 0.2592),
            _row("clock (rows 572-971)", 0.930, 0.096, 0.060, "looks at no data", "measured on the 34 upstream files"),
        ),
        targets=(Target(metric="f1", at=">=", value=0.82), Target(metric="false_alarm_rate", at="<=", value=0.135)),
        traps=("the fault begins near row 570 in nearly every run: a clock beats every entry", *skab.Scenario.card.traps),
    )

    def load(self, folder: Path) -> tuple[Run, ...]:
        """As Protocol C. DataRefused."""
        return skab.Scenario().load(folder)

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """As Protocol C."""
        return skab.Scenario().folds(runs)

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """Each labelled run once, from its first row."""
        labelled = [run for run in runs if (run.truth[skab.TARGET] == "fault").any()]
        return tuple(Episode(run=r.name, group=r.together, values=r.values, truth=r.truth, first=FITTED) for r in labelled)

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """As Protocol C."""
        return skab.judged(heard)

    def right(self, heard: Sequence[Heard]) -> Bools | None:
        """As Protocol C."""
        return skab.Scenario().right(heard)

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """As Protocol C."""
        return skab.guesses(heard)
