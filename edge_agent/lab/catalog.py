"""Which benchmarks are there, and what does each of them promise?"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.lab.data import Channel, DataRefused, Episode, Run
from edge_agent.lab.split import Fold

if TYPE_CHECKING:
    from edge_agent.lab.heard import Heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What somebody else reached, and where it is written."""

    who: str
    figures: Mapping[str, float]
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a bundle must reach here."""

    metric: str
    at: Literal[">=", "<="]
    value: float

    def met(self, reached: float) -> bool:
        """Whether the figure is good enough."""
        return reached >= self.value if self.at == ">=" else reached <= self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A scenario in words and numbers."""

    name: str
    title: str
    folder: str  # of the data set, below a folder that holds several
    data: str  # where the data come from
    licence: str
    split: str  # the rule, in words
    metric: str  # the one that the leaderboard sorts by
    channels: tuple[Channel, ...]
    every_s: float | None  # distance of the rows
    rows: tuple[int, int]  # shortest and longest window that may be judged
    higher_is_better: bool = True
    published: tuple[Figure, ...] = ()
    targets: tuple[Target, ...] = ()
    traps: tuple[str, ...] = field(default=())


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
