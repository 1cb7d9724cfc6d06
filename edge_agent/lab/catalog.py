"""Which benchmarks are there, and what can each of them do?"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab.data import DataRefused, Episode, Run
from edge_agent.lab.heard import Heard
from edge_agent.lab.split import Fold
from edge_agent.lab.task import Card as Card
from edge_agent.lab.task import Figure as Figure
from edge_agent.lab.task import Target as Target


class Scenario(Protocol):
    """One benchmark. Deterministic: the same folder gives the same runs, folds and episodes."""

    card: Card

    def load(self, folder: Path) -> tuple[Run, ...]:
        """Every run of the folder. DataRefused."""

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """How a recipe is judged: each fold checked for leaks. DataRefused."""

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """The rows that are shown to the agent."""

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """Figures from what the agent said."""

    def right(self, heard: Sequence[Heard]) -> NDArray[np.bool_] | None:
        """Whether each window of all episodes was answered rightly; None where one answer is not right or wrong."""

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """The same figures for guesses that look at no data: "always alarm", "clock" ..."""


def names() -> list[str]:
    """Every scenario there is."""
    package = importlib.import_module("edge_agent.lab.scenarios")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(name: str) -> Scenario:
    """The scenario of this name. DataRefused."""
    module = name.replace("-", "_")
    if module not in names():
        raise DataRefused(f"there is no scenario {name!r}; there are: {', '.join(names())}")
    made: Scenario = importlib.import_module(f"edge_agent.lab.scenarios.{module}").Scenario()
    return made
