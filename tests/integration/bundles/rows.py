"""Rows to play to a bundle: of a benchmark's data where they are at hand beside the checkout, else of its own golden windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import golden
from edge_agent.diagnose.bundle import Bundle
from edge_agent.lab import catalog, heard
from edge_agent.lab.data import DataRefused

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
MOST = 480  # rows


@dataclass(frozen=True)
class Rows:
    """What the sensors say: values [rows, roles] in the roles' order, with the unit of each."""

    source: str
    values: NDArray[np.float32]
    units: tuple[str | None, ...]


def of(bundle: Bundle) -> Rows:
    """Rows in which something happens, for this bundle."""
    for name in catalog.names() if DATA.is_dir() else ():
        scenario = catalog.load(name)
        folder = DATA / scenario.card.folder
        try:
            heard.refuse_misfit(bundle, scenario.card)
            episodes = scenario.episodes(scenario.load(folder / "data" if (folder / "data").is_dir() else folder))
        except DataRefused:
            continue
        episode = max(episodes, key=lambda e: len(np.unique(np.concatenate([np.unique(t) for t in e.truth.values()]))))
        channels = [next(c for c in scenario.card.channels if c.is_called(role.role)) for role in bundle.card.roles]
        columns = [scenario.card.channels.index(c) for c in channels]
        return Rows(name, _eventful(episode.values[:, columns], episode.truth), tuple(c.unit for c in channels))
    return Rows("golden", _golden(bundle), tuple(role.unit for role in bundle.card.roles))


def _eventful(values: NDArray[np.float32], truth: Mapping[str, NDArray[np.str_]]) -> NDArray[np.float32]:
    """A stretch around the first change of what is true."""
    changes = [np.flatnonzero(labels[1:] != labels[:-1]) for labels in truth.values()]
    first = min((int(c[0]) for c in changes if len(c)), default=0)
    start = max(0, min(first - MOST * 2 // 3, len(values) - MOST))
    return np.ascontiguousarray(values[start : start + MOST], dtype=np.float32)


def _golden(bundle: Bundle) -> NDArray[np.float32]:
    inputs, _ = golden.split(golden.load((bundle.path / "golden.npz").read_bytes()), bundle.card)
    windows = inputs[bundle.card.graph.window]  # [N, roles, rows]
    return np.ascontiguousarray(np.concatenate(list(windows), axis=1).T[:MOST], dtype=np.float32)
