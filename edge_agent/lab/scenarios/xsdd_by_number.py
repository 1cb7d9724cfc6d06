"""Steel surface, the last 30 % of each class by number: how good on another strip?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_agent.lab.catalog import Figure, Target
from edge_agent.lab.data import Episode, Run
from edge_agent.lab.heard import Bools, Heard
from edge_agent.lab.scenarios import xsdd
from edge_agent.lab.split import Fold, holding_out


class Scenario:
    """Neighbouring numbers show the same strip: they stay together."""

    card = replace(
        xsdd.Scenario.card,
        name="xsdd-by-number",
        title="X-SDD hot-rolled steel, 7 classes, last 30 % by number",
        split="the last 30 % of each class by file number; identical files on one side",
        published=(
            Figure(
                who="CNN of 45k parameters", figures={"accuracy": 0.858, "macro_f1": 0.781}, source="measured with this project's split"
            ),
        ),
        targets=(Target(metric="accuracy", at=">=", value=0.90), Target(metric="macro_f1", at=">=", value=0.85)),
    )

    def load(self, folder: Path) -> tuple[Run, ...]:
        """As `xsdd`. DataRefused."""
        return xsdd.Scenario().load(folder)

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """One."""
        held = {run.together for members in xsdd.classes(runs).values() for run in _last(members)}
        return (holding_out(runs, held, "last 30 % by number"),)

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """As `xsdd`."""
        return xsdd.Scenario().episodes(runs)

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """As `xsdd`."""
        return xsdd.Scenario().judge(heard)

    def right(self, heard: Sequence[Heard]) -> Bools | None:
        """As `xsdd`."""
        return xsdd.Scenario().right(heard)

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """As `xsdd`."""
        return xsdd.Scenario().blind(heard)


def _last(members: Sequence[Run]) -> list[Run]:
    ordered = sorted(members, key=lambda run: int((re.findall(r"\d+", run.name) or ["0"])[-1]))
    return ordered[len(ordered) - round(xsdd.SHARE * len(ordered)) :]
