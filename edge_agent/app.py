"""How do a configuration's sections become the parts that need no plant: tag rules, views, policies, readers of models?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edge_agent import plugin
from edge_agent.config.load import Configuration
from edge_agent.config.model import Cycle, Loop, Perceive, Tag
from edge_agent.contracts import Policy
from edge_agent.decide import expressions
from edge_agent.decide.expressions import Expression
from edge_agent.decide.vocabulary import vocabulary
from edge_agent.messages import Reading
from edge_agent.perceive import units
from edge_agent.perceive.channel import Channel
from edge_agent.perceive.intake import TagRules
from edge_agent.perceive.link import View
from edge_agent.perceive.rows import Cutter, Cycles, Follow, Grid, Wave

_NS = 1_000_000_000
_SETTLE_MOST_S = 0.5
Readings = Callable[[], Mapping[str, Reading]]


def tag_rules(configuration: Configuration, loops: Mapping[str, Loop]) -> dict[str, TagRules]:
    """What is expected of every tag's values."""
    skew = {tag: loop.perceive.skew for loop in loops.values() for tag in loop.perceive.tags}
    return {name: _rules(name, tag, skew.get(name, 2.0)) for name, tag in configuration.tags.items()}


def _rules(name: str, tag: Tag, skew_s: float) -> TagRules:
    scale, offset = units.factor(tag.source_unit, tag.unit) if tag.source_unit and tag.unit else (1.0, 0.0)
    low, high = tag.range or (float("-inf"), float("inf"))
    return TagRules(
        name=name,
        connector=tag.from_,
        scale=scale,
        offset=offset,
        low=low,
        high=high,
        max_age_s=tag.max_age,
        max_flat_s=tag.max_flat,
        accept_uncertain=tag.accept_uncertain,
        skew_s=skew_s,
    )


def view(configuration: Configuration, name: str, readings: Readings) -> View:
    """A loop's windows. `readings` gives the loop's live tags, for the start and stop of cycles."""
    perceive = configuration.file.loops[name].perceive
    return View(name, tuple(perceive.tags), watched(configuration, name), _cutter(configuration, perceive, readings))


def _cutter(configuration: Configuration, perceive: Perceive, readings: Readings) -> Cutter:
    channels = [_channel(tag, configuration.tags[tag], perceive) for tag in perceive.tags]
    rate = _waveform_rate(configuration.tags[perceive.tags[0]])
    if rate and len(channels) == 1:
        return Wave(channels[0], rows=perceive.window, hop=perceive.hop, step_ns=round(_NS / rate))
    if perceive.follow:
        return Follow(channels, leader=perceive.tags.index(perceive.follow), rows=perceive.window, hop=perceive.hop)
    grid = _grid(channels, perceive, one_row=perceive.cycle is not None)
    return _cycles(configuration, perceive, perceive.cycle, grid, readings) if perceive.cycle else grid


def _channel(tag: str, config: Tag, perceive: Perceive) -> Channel:
    reach_s = config.max_age if config.max_age is not None else perceive.max_gap
    return Channel(tag, reach_ns=round(reach_s * _NS), strict=config.max_age is not None, linear=perceive.fill == "linear")


def _grid(channels: list[Channel], perceive: Perceive, *, one_row: bool) -> Grid:
    every_s = perceive.every or 1.0
    settle_s = min(every_s / 2, _SETTLE_MOST_S) if perceive.settle is None else perceive.settle
    rows, hop = (1, 1) if one_row else (perceive.window, perceive.hop)
    return Grid(channels, every_ns=round(every_s * _NS), rows=rows, hop=hop, settle_ns=round(settle_s * _NS))


def _cycles(configuration: Configuration, perceive: Perceive, cycle: Cycle, grid: Grid, readings: Readings) -> Cycles:
    names = vocabulary(configuration.tags)
    start = expressions.compile(cycle.start, names, want="truth")
    stop = expressions.compile(cycle.stop, names, want="truth")
    return Cycles(
        grid,
        start=lambda: start.truth(readings()),
        stop=lambda: stop.truth(readings()),
        rows=perceive.window,
        longest=round(cycle.longest / (perceive.every or 1.0)),
    )


def _waveform_rate(tag: Tag) -> float | None:
    """Samples per second if the tag carries blocks of a waveform that are not reduced to one number."""
    decode = getattr(tag, "decode", None)
    if getattr(decode, "reduce", None) not in (None, "none"):
        return None
    rate = getattr(decode, "rate", None)
    return float(rate) if rate else None


def policy(configuration: Configuration, name: str) -> Policy:
    """A loop's policy."""
    config = configuration.policies[name]
    writable = configuration.file.loops[name].execute
    made: Policy = plugin.load("policy", config.policy).Policy(  # type: ignore[attr-defined]
        config, loop=name, tags=tuple(configuration.tags), writable=tuple(writable)
    )
    return made


def interlocks(configuration: Configuration, name: str) -> dict[str, tuple[Expression, ...]]:
    """The compiled interlocks of each tag that the loop may write."""
    names = vocabulary(configuration.tags)
    writes = configuration.file.loops[name].execute
    return {tag: tuple(expressions.compile(text, names, want="truth") for text in write.interlocks) for tag, write in writes.items()}


def watched(configuration: Configuration, name: str) -> tuple[str, ...]:
    """Every tag that the loop's policy, interlocks, responses and cycles name."""
    loop = configuration.file.loops[name]
    texts = _texts(
        [configuration.policies[name].model_dump(), {t: w.model_dump() for t, w in loop.execute.items()}, loop.perceive.model_dump()]
    )
    named = {word for text in texts for word in re.findall(r"[A-Za-z][A-Za-z0-9_]*", text)}
    return tuple(sorted(named & configuration.tags.keys()))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
