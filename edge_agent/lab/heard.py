"""What would the agent have said? A bundle's own Diagnoser over recorded rows: baseline, smoothing, calibration, novelty and all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent import units
from edge_agent.config import model as config_model
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.session import open_session
from edge_agent.lab.data import Channel, DataRefused, Episode, Texts, ends
from edge_agent.lab.task import Card
from edge_agent.messages import Diagnosis, Window

Bools = NDArray[np.bool_]
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """The judged windows of one episode [N], and what the agent said of each."""

    episode: Episode
    end: NDArray[np.int64]  # row of the episode that each window ends with
    truth: Mapping[str, Texts] = field(repr=False)  # of the last row of each window
    said: Sequence[Diagnosis] = field(repr=False)
    alarm: Bools = field(repr=False)  # whether the score reached the card's alarm; also where it is no evidence
    score: NDArray[np.float64] = field(repr=False)  # NaN where there is none

    @property
    def evidence(self) -> Bools:
        """Whether the agent would have acted upon it."""
        return np.array([d.status == "ok" for d in self.said], dtype=bool)

    def refused(self) -> Bools:
        """Whether the novelty gate refused it."""
        return np.array([d.status == "novel" for d in self.said], dtype=bool)


class LabRuntime:
    """contracts.Runtime for one graph of one bundle, in this process, without a deadline."""

    def __init__(self, bundle: Bundle, graph: bytes) -> None:
        self._names = list(bundle.outputs)
        self._session = open_session(graph, bundle.id)

    async def load(self, bundle: Path) -> None:
        """Nothing to do: it was opened when it was made."""

    async def run(self, bundle: Path, feeds: Mapping[str, NDArray[Any]], timeout_s: float) -> dict[str, NDArray[Any]]:
        """Named inputs to named outputs."""
        return self.outputs(feeds)

    def outputs(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The same without waiting."""
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))

    async def close(self) -> None:
        """Nothing to do."""


def listen(bundle: Bundle, graph: bytes, episodes: Sequence[Episode], scenario: Card, *, smooth: int | None = None) -> tuple[Heard, ...]:
    """Run every episode from the agent's start on, with the card's smoothing or another. DataRefused if the data do not fit."""
    columns, scale = _columns(bundle, scenario)
    _refuse_other_windows(bundle, scenario)
    if bundle.card.picture is None and any(e.values.ndim != 2 for e in episodes):
        raise DataRefused(f"{bundle.id} on {scenario.name}: these are pictures; its card takes rows of values (no `picture:`)")
    if bundle.card.picture and any(e.values.ndim == 2 for e in episodes):
        raise DataRefused(f"{bundle.id} on {scenario.name}: these are rows of values; its card takes pictures")
    runtime = LabRuntime(bundle, graph)
    every_ns = round((scenario.every_s or 1.0) * _NS)

    async def all_of_them() -> tuple[Heard, ...]:
        return tuple([await _one(bundle, diagnoser(bundle, runtime, scale, smooth), e, columns, every_ns) for e in episodes])

    return asyncio.run(all_of_them())


def refuse_misfit(bundle: Bundle, scenario: Card) -> None:
    """DataRefused if the bundle's roles, units or windows are not those of the scenario."""
    _columns(bundle, scenario)
    _refuse_other_windows(bundle, scenario)


def diagnoser(bundle: Bundle, runtime: LabRuntime, scale: Mapping[str, tuple[float, float]], smooth: int | None = None) -> Diagnoser:
    """The agent's own, with the roles for tags."""
    config = config_model.Diagnose(model=bundle.card.name, smooth=smooth)
    tags = [role.role for role in bundle.card.roles]
    return Diagnoser("lab", bundle, bundle.head(), runtime, config, tags=tags, scale=scale)


def window_of(bundle: Bundle, values: NDArray[Any], seq: int, end_ns: int, every_ns: int) -> Window:
    """A good window of the bundle's roles."""
    return Window(
        loop="lab",
        seq=seq,
        tags=tuple(role.role for role in bundle.card.roles),
        start_ns=end_ns - (values.shape[1] - 1) * every_ns,
        end_ns=end_ns,
        cut_ns=end_ns,
        mono_ns=end_ns,
        values=values,
        quality=np.zeros(values.shape, dtype=np.uint16),
        live={},
        fit=True,
    )


async def _one(bundle: Bundle, agent: Diagnoser, episode: Episode, columns: Sequence[int], every_ns: int) -> Heard:
    said, at = await (_looked(bundle, agent, episode) if bundle.card.picture else _listened(bundle, agent, episode, columns, every_ns))
    score = np.array([np.nan if d.score is None else d.score for d in said], dtype=np.float64)
    truth = {target: labels[at] for target, labels in episode.truth.items()}
    return Heard(episode=episode, end=at, truth=truth, said=tuple(said), alarm=_alarms(bundle, said, score), score=score)


async def _looked(bundle: Bundle, agent: Diagnoser, episode: Episode) -> tuple[list[Diagnosis], NDArray[np.int64]]:
    """One picture, as the camera gave it."""
    seen = np.asarray(episode.values, dtype=np.uint8)
    picture = seen[0] if len(seen) == 1 else seen.transpose(1, 2, 0)
    return [await agent.diagnose(window_of(bundle, picture, 0, 0, _NS))], np.zeros(1, dtype=np.int64)


async def _listened(
    bundle: Bundle, agent: Diagnoser, episode: Episode, columns: Sequence[int], every_ns: int
) -> tuple[list[Diagnosis], NDArray[np.int64]]:
    channels = np.ascontiguousarray(episode.values[:, list(columns)].T, dtype=np.float32)
    rows, said, where = bundle.card.window.rows, [], []
    for seq, end in enumerate(ends(episode, rows)):
        values = np.ascontiguousarray(channels[:, end - rows + 1 : end + 1])
        diagnosis = await agent.diagnose(window_of(bundle, values, seq, end * every_ns, every_ns))
        if end >= episode.first:
            said.append(diagnosis)
            where.append(end)
    return said, np.array(where, dtype=np.int64)


def _alarms(bundle: Bundle, said: Sequence[Diagnosis], score: NDArray[np.float64]) -> Bools:
    limit = bundle.card.thresholds.alarm
    if limit is not None:
        return np.asarray(np.nan_to_num(score, nan=-np.inf) >= limit)
    return np.array([d.label is not None and d.label not in bundle.card.normal for d in said], dtype=bool)


def _columns(bundle: Bundle, scenario: Card) -> tuple[list[int], dict[str, tuple[float, float]]]:
    """Which column each role is, and how its values come into the role's unit. DataRefused names every misfit."""
    columns, scale, wrong = [], {}, []
    for role in bundle.card.roles:
        found = [i for i, channel in enumerate(scenario.channels) if channel.is_called(role.role)]
        if not found:
            there = ", ".join(channel.name for channel in scenario.channels)
            wrong.append(f"role {role.role}: {scenario.name} has no such channel; name the role after one of: {there}")
            continue
        columns.append(found[0])
        try:
            scale[role.role] = _factor(scenario.channels[found[0]], role.unit)
        except ValueError as e:
            wrong.append(f"role {role.role}: {e}; mend the unit in the card")
    if wrong:
        raise DataRefused("\n".join(f"{bundle.id} on {scenario.name}: {line}" for line in wrong))
    return columns, scale


def _factor(channel: Channel, unit: str | None) -> tuple[float, float]:
    if channel.unit is None or unit is None:
        return 1.0, 0.0
    return units.factor(channel.unit, unit)


def _refuse_other_windows(bundle: Bundle, scenario: Card) -> None:
    window, (low, high) = bundle.card.window, scenario.rows
    if window.every is not None and scenario.every_s is not None and abs(window.every - scenario.every_s) > 1e-3 * scenario.every_s:
        raise DataRefused(f"{bundle.id} wants a row every {window.every:g} s; {scenario.name} has one every {scenario.every_s:g} s")
    if not low <= window.rows <= high:
        said = f"exactly {low}" if low == high else f"{low} to {high}"
        raise DataRefused(f"{bundle.id} looks at {window.rows} rows; {scenario.name} allows {said}, so that figures compare")
