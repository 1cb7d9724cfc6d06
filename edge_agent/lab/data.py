"""What is a run of recorded data, and which rows of it does a benchmark show to a model?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import EdgeAgentError

Texts = NDArray[np.str_]


class DataRefused(EdgeAgentError):
    """Data that would give a wrong figure: missing, of another unit, too little, without labels, or leaking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One column: its name, the unit of its values, and other names that a card may use for it."""

    name: str
    unit: str | None
    aliases: tuple[str, ...] = ()

    def is_called(self, role: str) -> bool:
        """Whether a card's role means this channel."""
        return role.casefold() in {n.casefold() for n in (self.name, *self.aliases)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What must not be torn apart by a split: rows in the order of time, and what was true at each."""

    name: str
    values: NDArray[Any] = field(repr=False)  # [R, C], in the channels' units; a picture: [1, H, W]
    truth: Mapping[str, Texts] = field(repr=False)  # target -> label of each row [R]
    group: str = ""  # runs of one group stay on the same side of a split; "": a group of its own

    @property
    def together(self) -> str:
        """The name of its group."""
        return self.group or self.name

    @property
    def hash(self) -> str:
        """Of the values, whatever the file was called: 16 hex digits."""
        shape = ",".join(map(str, self.values.shape)).encode()
        return hashlib.sha256(shape + b"\n" + np.ascontiguousarray(self.values).tobytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episode:
    """Rows as the agent would receive them, from its first row on; windows count as test from row `first`."""

    run: str
    group: str
    values: NDArray[np.float32] = field(repr=False)  # [R, C]
    truth: Mapping[str, Texts] = field(repr=False)
    first: int = 0  # index of the first row that is judged; what lies before serves to learn the baseline and to fill the window
    hop: int = 1  # rows from one window to the next
    repeat: int = 0
    normal_only: bool = False


def ends(episode: Episode, rows: int) -> Iterator[int]:
    """Index of the last row of each window that is shown to the agent; those from `first` on are judged."""
    yield from range(rows - 1, len(episode.values), episode.hop)


def unique(runs: Sequence[Run], where: str) -> tuple[Run, ...]:
    """The runs, each name once. DataRefused."""
    names = [run.name for run in runs]
    if not names:
        raise DataRefused(f"{where}: no runs found; name the folder that holds the data set's files")
    if len(set(names)) != len(names):
        raise DataRefused(f"{where}: two runs are called {next(n for n in names if names.count(n) > 1)!r}; give each its own name")
    return tuple(runs)
