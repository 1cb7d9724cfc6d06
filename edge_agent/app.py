"""The only builder: how does each section of a configuration become a part?"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from edge_agent import places, plugin, units
from edge_agent.clock import Clock
from edge_agent.config import fit
from edge_agent.config.load import Configuration
from edge_agent.config.model import Clearance, Cycle, Diagnose, Loop, Member, Perceive, Tag
from edge_agent.config.model import Parts as PartsConfig
from edge_agent.contracts import Connector, Policy, Runtime, Setup, Writable
from edge_agent.decide import expressions
from edge_agent.decide.expressions import Expression
from edge_agent.decide.vocabulary import vocabulary
from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose import manifest as manifests
from edge_agent.diagnose import signature
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.runtime import Opener
from edge_agent.errors import ConfigError, EdgeAgentError, ModelRefused, Problem
from edge_agent.execute.terms import ModelTerms
from edge_agent.lifecycle import store
from edge_agent.messages import Reading
from edge_agent.perceive.belt import Belt
from edge_agent.perceive.channel import Channel
from edge_agent.perceive.intake import TagRules
from edge_agent.perceive.link import View
from edge_agent.perceive.parts import Parts, Pictures, Track
from edge_agent.perceive.rows import Cutter, Cycles, Follow, Grid, Wave

_NS = 1_000_000_000
_SETTLE_MOST_S = 0.5
_SOCKET_BYTES = 107  # unix(7)
Readings = Callable[[], Mapping[str, Reading]]


class LoadingRuntime(Runtime, Protocol):
    """A runtime that shows the bundles it admitted."""

    def opened(self, bundle: Path) -> Bundle: ...
    def status(self) -> Mapping[str, Any]: ...


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
    part = perceive.part
    belt = part.belt if part else None
    extra = [tag for tag in (part.trigger if part else None, belt.speed or belt.encoder if belt else None) if tag is not None]
    seen = frozenset(perceive.tags) if fit.is_camera(configuration.tags[perceive.tags[0]]) else frozenset[str]()
    names = tuple(tag for tag in watched(configuration, name) if tag not in seen)
    return View(name, tuple(perceive.tags), names, _cutter(configuration, perceive, extra, readings), tuple(extra))


def _cutter(configuration: Configuration, perceive: Perceive, extra: list[str], readings: Readings) -> Cutter | Pictures | Parts:
    channels = [_channel(tag, configuration.tags[tag], perceive) for tag in (*perceive.tags, *extra)]
    if fit.is_camera(configuration.tags[perceive.tags[0]]):
        return Parts(channels, perceive.tags, _track(perceive.part)) if perceive.part else Pictures(channels)
    rate = fit.waveform_rate(configuration.tags[perceive.tags[0]])
    if rate and len(channels) == 1:
        return Wave(channels[0], rows=perceive.window, hop=perceive.hop, step_ns=round(_NS / rate))
    if perceive.follow:
        return Follow(channels, leader=perceive.tags.index(perceive.follow), rows=perceive.window, hop=perceive.hop)
    grid = _grid(channels, perceive, one_row=perceive.cycle is not None)
    return _cycles(configuration, perceive, perceive.cycle, grid, readings) if perceive.cycle else grid


def _track(part: PartsConfig) -> Track:
    belt = part.belt
    return Track(
        deadline_ns=round((part.deadline or 0.0) * _NS),
        delay_ns=round(part.delay * _NS),
        within_ns=round(part.within * _NS),
        margin_ns=round(belt.margin * _NS) if belt else 0,
        belt=Belt(encoder=belt.encoder is not None, scale=belt.scale) if belt else None,
        camera_m=belt.camera if belt else 0.0,
        gate_m=belt.gate if belt else 0.0,
        step=part.step,
        numbered=part.numbered,
        debounce_ns=round(part.debounce * _NS),
    )


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


def policy(configuration: Configuration, name: str) -> Policy:
    """A loop's policy."""
    config = configuration.policies[name]
    writable = configuration.file.loops[name].execute
    made: Policy = plugin.load("policy", config.policy).Policy(  # type: ignore[attr-defined]
        config, loop=name, tags=configuration.tags.keys(), writable=tuple(writable)
    )
    return made


def interlocks(configuration: Configuration, name: str) -> dict[str, tuple[Expression, ...]]:
    """The compiled interlocks of each tag that the loop may write."""
    names = vocabulary(configuration.tags)
    writes = configuration.file.loops[name].execute
    return {tag: tuple(expressions.compile(text, names, want="truth") for text in write.interlocks) for tag, write in writes.items()}


def watched(configuration: Configuration, name: str) -> tuple[str, ...]:
    """Every tag that the loop's policy, interlocks, responses, cycles and rules name."""
    loop = configuration.file.loops[name]
    rules = [stand_in.rule for stand_in in loop.diagnose.fallback]
    texts = _texts(
        [rules, configuration.policies[name].model_dump(), {t: w.model_dump() for t, w in loop.execute.items()}, loop.perceive.model_dump()]
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


def socket(configuration: Configuration) -> Path:
    """Where the control process listens. ConfigError if no socket can have that path."""
    path = places.socket(configuration.file.agent)
    if (length := len(os.fsencode(path))) > _SOCKET_BYTES:
        said = f"{path} is {length} bytes long, and a socket's path has at most {_SOCKET_BYTES}"
        raise ConfigError([Problem(configuration.at("agent", "state"), 0, 0, "", said, "choose a shorter folder")])
    return path


# ---------------------------------------------------------------- what needs a model or a plant


def opener(configuration: Configuration) -> Opener:
    """Reads and admits the bundles that this configuration believes."""
    models = configuration.file.models
    folder = (home(configuration) / models.trust) if models.trust else None
    return partial(bundles.read, keys=signature.trusted(folder), dev=models.unsigned)


def home(configuration: Configuration) -> Path:
    """The folder that relative paths of the configuration start from."""
    return configuration.path.parent if configuration.path else Path()


def bundle_path(configuration: Configuration, loop: str, model: str | None = None) -> Path:
    """The folder of a loop's bundle, or of one of its others. ModelRefused if there is none."""
    name, file = model or configuration.file.loops[loop].diagnose.model, configuration.path or Path("configuration.yaml")
    try:
        return store.resolve(name, beside=file.parent, models=places.models(file)[1:])
    except EdgeAgentError as e:
        raise ModelRefused(f"{configuration.at('loops', loop, 'diagnose', 'model')}: {e}") from e


def replaced(configuration: Configuration, loop: str, running: Bundle, model: str | None = None) -> bool:
    """Whether another bundle now lies where this loop's comes from. One that cannot be read replaces nothing."""
    try:
        path = bundle_path(configuration, loop, model)
        manifest = (path / manifests.MANIFEST).read_bytes()
    except (ModelRefused, OSError):
        return False
    return path != running.path or hashlib.sha256(manifest).hexdigest() != running.hash


def digest(configuration: Configuration, name: str, model: str) -> str:
    """What a person arms: the loop, its policy, the tags it uses and the hash of its model, as one hash."""
    loop = configuration.file.loops[name]
    said = {
        "model": model,
        "loop": loop.model_dump(mode="json", exclude={"decide"}),
        "policy": configuration.policies[name].model_dump(mode="json"),
        "tags": {tag: configuration.tags[tag].model_dump(mode="json") for tag in sorted(uses(configuration, name))},
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def uses(configuration: Configuration, name: str) -> frozenset[str]:
    """Every tag that a loop reads or writes."""
    loop = configuration.file.loops[name]
    return frozenset((*loop.perceive.tags, *loop.execute, *watched(configuration, name))) & configuration.tags.keys()


def shares(configuration: Configuration) -> dict[str, Clearance]:
    """How far each loop's records may travel."""
    return {name: loop.feedback.share for name, loop in configuration.file.loops.items()}


async def diagnoser(
    configuration: Configuration,
    name: str,
    runtime: LoadingRuntime,
    now_ns: Callable[[], int] | None = None,
    *,
    member: Diagnose | Member | None = None,
) -> tuple[Diagnoser, Bundle]:
    """A loop's model (or another `member` of it), loaded, and allowed in this loop; `now_ns` is the monotonic clock of the live agent.
    ModelRefused."""
    loop = configuration.file.loops[name]
    asked = member or loop.diagnose
    config = loop.diagnose.model_copy(update={"model": asked.model, "roles": asked.roles})
    path = bundle_path(configuration, name, asked.model)
    await runtime.load(path)
    bundle = runtime.opened(path)
    bundles.refuse_tier(bundle, name, loop.tier)
    _refuse_misfit(configuration, name, bundle, asked.roles)
    made = Diagnoser(
        name,
        bundle,
        bundle.head(),
        runtime,
        config,
        tags=loop.perceive.tags,
        scale=_scales(configuration, loop, bundle, asked.roles),
        now_ns=now_ns,
    )
    return made, bundle


def _refuse_misfit(configuration: Configuration, name: str, bundle: Bundle, roles: Mapping[str, str]) -> None:
    """ModelRefused unless the loop gives the model what its card asks for."""
    card = bundle.card
    asked = fit.Asked(
        model=bundle.id,
        rows=card.window.rows,
        every_s=card.window.every,
        roles=tuple((role.role, role.unit) for role in card.roles),
        picture=card.picture is not None,
    )
    wrong = list(fit.misfits(name, configuration.file.loops[name], configuration.tags, asked, roles))
    if wrong:
        raise ModelRefused("\n".join(f"{configuration.at(*m.path)}: {m.what}; {m.cure}" for m in wrong))


def _scales(configuration: Configuration, loop: Loop, bundle: Bundle, roles: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """From each tag's unit to its role's."""
    scales: dict[str, tuple[float, float]] = {}
    for i, role in enumerate(bundle.card.roles):
        tag = roles.get(role.role) or (loop.perceive.tags[i] if i < len(loop.perceive.tags) else None)
        unit = configuration.tags[tag].unit if tag else None
        if tag is not None and unit is not None and role.unit is not None:
            scales[tag] = units.factor(unit, role.unit)
    return scales


def terms(configuration: Configuration, name: str, bundle: Bundle, armed_version: tuple[int, ...]) -> ModelTerms:
    """What the gate may believe of a loop's model: the card's thresholds, tightened by the configuration's."""
    thresholds, trust = bundle.card.thresholds, configuration.file.loops[name].diagnose.trust
    confidence = [t for t in (thresholds.confidence, trust.confidence) if t is not None]
    novelty = [t for t in (thresholds.novelty, trust.novelty) if t is not None]
    return ModelTerms(
        name=bundle.id,
        hash=bundle.model_hash,
        verified=bundle.signed_by is not None,
        tier=bundle.tier,
        version=version(bundle),
        floor=armed_version,
        score=(None, None) if bundle.card.head["type"] == "regress" else (0.0, 1.0),
        min_confidence=max(confidence, default=None),
        max_novelty=min(novelty, default=None),
    )


def version(bundle: Bundle) -> tuple[int, ...]:
    """The numbers of a version, for comparing: "1.2.0-rc1" is (1, 2, 0, 1)."""
    return tuple(map(int, re.findall(r"\d+", bundle.card.version)))


def connector(configuration: Configuration, name: str, *, clock: Clock, state: Path) -> Connector:
    """A connector, not connected."""
    config = configuration.connectors[name]
    tags = {tag: spec for tag, spec in configuration.tags.items() if spec.from_ == name}
    setup = Setup(name=name, clock=clock, state=state / "connectors" / name, agent=configuration.file.agent.name, home=home(configuration))
    made: Connector = plugin.load("connector", config.type).Connector(config, tags, setup)  # type: ignore[attr-defined]
    return made


def ports(configuration: Configuration, name: str, connectors: Mapping[str, Connector]) -> dict[str, Writable]:
    """The way to every tag that a loop writes, its heartbeats included. ConfigError if one leads nowhere."""
    writes = configuration.file.loops[name].execute
    wanted = set(writes) | {write.lease.tag for write in writes.values() if write.lease}
    found: dict[str, Writable] = {}
    for tag in sorted(wanted):
        port = connectors[configuration.tags[tag].from_]
        if not hasattr(port, "write"):
            where = configuration.at("tags", tag, "from")
            raise ConfigError([Problem(where, 0, 0, "", f"{tag}: this connector cannot write; take the tag from one that can")])
        found[tag] = cast(Writable, port)
    return found
