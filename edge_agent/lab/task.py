"""What does a benchmark promise, in words and numbers?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edge_agent.lab.data import Channel


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
