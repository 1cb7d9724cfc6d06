"""Does a loop give its model what the model's card asks for: as many rows, as far apart, as many tags, in units that convert?"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_agent import places, units
from edge_agent.config import tree, yaml
from edge_agent.config.model import Loop, Tag
from edge_agent.config.types import Duration

if TYPE_CHECKING:
    from edge_agent.config.load import Configuration
    from edge_agent.errors import Problem

_WANTED = re.compile(r"^(?:name|version|window|roles|picture)\b")
_KEY = re.compile(r"^[A-Za-z_]\w*\s*:")
_MOST_BYTES = 1 << 20  # of a card


class Misfit(NamedTuple):
    """What does not fit, where in the configuration, and what to do."""

    path: tree.Path
    what: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a card asks for: rows, their distance (None: one an event), and each channel's role with its unit. `picture`: one camera."""

    model: str
    rows: int
    every_s: float | None
    roles: tuple[tuple[str, str | None], ...]
    picture: bool


def misfits(name: str, loop: Loop, tags: Mapping[str, Tag], asked: Asked, roles: Mapping[str, str]) -> Iterator[Misfit]:
    """Everything in which the loop `name` is not what the card asks for; `roles` says which tag plays which role."""
    at: tree.Path = ("loops", name, "perceive")
    if loop.perceive.window != asked.rows:
        said = f"{loop.perceive.window} rows; {asked.model} was trained on {asked.rows}"
        yield Misfit((*at, "window"), said, f"write `window: {asked.rows}`")
    if is_camera(tags.get(loop.perceive.tags[0])) != asked.picture:
        said = f"{asked.model} takes {'pictures' if asked.picture else 'numbers'}, and these tags give none"
        yield Misfit((*at, "tags"), said, "name another model, or tags of another connector")
    yield from _pace(at, loop, tags, asked)
    if not asked.picture:
        yield from _roles(name, loop, asked, roles)
        yield from _units(at, loop, tags, asked, roles)


def is_camera(tag: Tag | None) -> bool:
    """Whether the tag's values are pictures."""
    return getattr(tag, "watch", None) is not None and getattr(tag, "number", None) is None


def _pace(at: tree.Path, loop: Loop, tags: Mapping[str, Tag], asked: Asked) -> Iterator[Misfit]:
    perceive = loop.perceive
    rate = waveform_rate(tags[perceive.tags[0]]) if len(perceive.tags) == 1 and perceive.tags[0] in tags else None
    every = 1 / rate if rate else perceive.every
    if every is None or (asked.every_s is not None and math.isclose(every, asked.every_s, rel_tol=1e-6)):
        return  # a row at each sample of a tag: as far apart as its source sends
    if asked.every_s is None and perceive.cycle is not None:
        return
    wanted = f"{asked.every_s:g} s apart" if asked.every_s is not None else "one for each event"
    cure = f"write `every: {asked.every_s:g} s`" if asked.every_s is not None else "write `follow: TAG` instead"
    yield Misfit((*at, "every"), f"rows {every:g} s apart; {asked.model} was trained on rows {wanted}", cure)


def waveform_rate(tag: Tag) -> float | None:
    """Samples per second if the tag carries blocks of a waveform that are not reduced to one number."""
    decode = getattr(tag, "decode", None)
    if getattr(decode, "reduce", None) not in (None, "none"):
        return None
    rate = getattr(decode, "rate", None)
    return float(rate) if rate else None


def _roles(name: str, loop: Loop, asked: Asked, roles: Mapping[str, str]) -> Iterator[Misfit]:
    known = [role for role, _ in asked.roles]
    listed = ", ".join(known)
    if len(loop.perceive.tags) != len(known):
        said = f"{len(loop.perceive.tags)} tags; {asked.model} takes {len(known)}"
        yield Misfit(("loops", name, "perceive", "tags"), said, f"give one for each of its roles, in this order: {listed}")
    if roles and (odd := sorted(set(roles) ^ set(known))):
        yield Misfit(("loops", name, "diagnose", "roles"), f"{', '.join(odd)}: missing or unknown", f"{asked.model} has the roles {listed}")


def _units(at: tree.Path, loop: Loop, tags: Mapping[str, Tag], asked: Asked, roles: Mapping[str, str]) -> Iterator[Misfit]:
    for i, (role, wanted) in enumerate(asked.roles):
        tag = roles.get(role) or (loop.perceive.tags[i] if i < len(loop.perceive.tags) else None)
        unit = tags[tag].unit if tag is not None and tag in tags else None
        if tag is None or unit is None or wanted is None:
            continue
        try:
            units.factor(unit, wanted)
        except ValueError as error:
            place = loop.perceive.tags.index(tag) if tag in loop.perceive.tags else i
            yield Misfit((*at, "tags", place), f"{tag} for role {role} of {asked.model}: {error}", "is it the right tag?")


# ---------------------------------------------------------------- with the bundles at hand


def problems(configuration: Configuration) -> list[Problem]:
    """Of every loop whose model lies where the configuration means: what does not fit. A card that cannot be read is `verify`'s matter."""
    cards: dict[str, Asked | None] = {}
    found: dict[Misfit, None] = {}
    for name, loop in configuration.file.loops.items():
        for model, roles in _models(loop) if loop.mode != "off" else ():
            if model not in cards:
                cards[model] = _card(model, configuration.path or Path("configuration.yaml"))
            asked = cards[model]
            found |= dict.fromkeys(misfits(name, loop, configuration.tags, asked, roles) if asked else ())
    return [_problem(configuration, misfit) for misfit in found]


def _models(loop: Loop) -> Iterable[tuple[str, Mapping[str, str]]]:
    said = loop.diagnose
    named = [(said.model, said.roles), *((m.model, m.roles) for m in said.also), *((m.model, m.roles) for m in said.fallback)]
    return [(model, roles) for model, roles in named if model is not None]


def _problem(configuration: Configuration, misfit: Misfit) -> Problem:
    span = tree.place(configuration.root, misfit.path)
    return tree.problem(str(configuration.path), span, misfit.path, misfit.what, misfit.cure)


class _Role(BaseModel):
    role: str
    unit: str | None = None


class _Window(BaseModel):
    rows: int
    every: Duration | None = None


class _Head(BaseModel):
    """The few keys of a card that concern a loop; diagnose/card.py reads the whole."""

    model_config = ConfigDict(extra="ignore")
    name: str
    version: str
    window: _Window
    roles: list[_Role]
    picture: dict[str, Any] | None = None


def _card(model: str, config: Path) -> Asked | None:
    folder = places.bundle(model, config)
    file = _current(folder) / "card.yaml" if folder else None
    try:
        if file is None or file.stat().st_size > _MOST_BYTES:
            return None
        root, wrong = yaml.read(_part(file.read_text("utf-8").splitlines()), str(file))
        if root is None or wrong:
            return None
        head = _Head.model_validate(tree.plain(root))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return Asked(
        model=f"{head.name}@{head.version}",
        rows=head.window.rows,
        every_s=head.window.every,
        roles=tuple((r.role, r.unit) for r in head.roles),
        picture=head.picture is not None,
    )


def _current(folder: Path) -> Path:
    """Of an installed model: the version in use."""
    try:
        return folder / str(json.loads((folder / "state.json").read_bytes())["current"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder


def _part(lines: Sequence[str]) -> str:
    """The blocks of a card that are wanted: an envelope of a hundred channels takes longer to read than a configuration."""
    kept, wanted = [], False
    for line in lines:
        if _KEY.match(line):
            wanted = _WANTED.match(line) is not None
        if wanted:
            kept.append(line)
    return "\n".join(kept)
