"""Do the parts fit together? What one model cannot see: names that must exist, tags with two masters, modes that need limits."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from edge_agent.config import check_expressions, check_write
from edge_agent.config.findings import Findings
from edge_agent.config.fit import is_camera
from edge_agent.config.model import Loop, Parts, Tag
from edge_agent.config.sections import Sections
from edge_agent.config.tree import Mapping, child, find
from edge_agent.config.tree import Path as At
from edge_agent.errors import Problem

_SMELLS_OF_SAFETY = re.compile(
    r"safety|e[-_ ]?stop|emergency|not[-_ ]?(aus|halt)\b|fail[-_ ]?safe|light[-_ ]?curtain|guard[-_ ]?(door|lock)"
    r"|burner[-_ ]?(trip|management)|\bsi[fls]\d?\b|安全|急停",
    re.IGNORECASE,
)


def check(found: Sections, *, root: Mapping, file: str, folder: Path | None) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings."""
    findings = Findings(root, file)
    names = _keys(findings, "tags")
    _agent(findings, found)
    _api(findings, found)
    for name, tag in found.tags.items():
        _tag(findings, name, tag, found)
    for name, loop in found.loops.items():
        _perceive(findings, name, loop, found, names)
        _mode(findings, name, loop)
        _model(findings, name, loop, file if folder is not None else None)
        check_write.check(findings, name, loop, found, names)
        check_expressions.check(findings, name, loop, found, names)
    _one_master(findings, found.loops)
    _unused(findings, found)
    return findings.serious, findings.warnings


def _agent(findings: Findings, found: Sections) -> None:
    """Its folders are the same wherever a program was started: a stop file that only some look at stops nothing."""
    for key in ("state", "stop_file"):
        folder = getattr(found.file.agent, key) if found.file else None
        if folder is not None and not folder.startswith(("/", "!env ")):
            findings.error(("agent", key), f"`{folder}` would lie elsewhere for each program that reads this", "write an absolute path")


def _api(findings: Findings, found: Sections) -> None:
    """A token is not for everybody on the way."""
    api = found.file.api if found.file else None
    if api is None or api.tls is not None or api.unsecured or not api.tokens or _stays_here(api.host):
        return
    cure = "add `tls: {certificate: FILE, key: FILE}`, or say `unsecured: true` where something else protects the way"
    findings.error(("api", "host"), f"{api.host} is a network, and tokens would cross it in clear", cure)


def _stays_here(host: str) -> bool:
    return host.startswith(("127.", "!env ")) or host in ("localhost", "::1")


def _keys(findings: Findings, section: str) -> Collection[str]:
    """Every name of a section, also of entries that are wrong: they are told already. Asked for thousands of times: no list."""
    node = find(findings.root, (section,))
    return node.entries.keys() if isinstance(node, Mapping) else ()


def _tag(findings: Findings, name: str, tag: Tag, found: Sections) -> None:
    at: At = ("tags", name)
    _units(findings, at, tag)
    if tag.range is not None and not tag.range[0] < tag.range[1]:
        findings.error((*at, "range"), f"lower end {tag.range[0]:g} is not below the upper end {tag.range[1]:g}", "swap or mend them")
    if tag.write and tag.safety:
        findings.error(
            (*at, "write"), "a safety-related tag is never written by the agent", "remove `write: true`; this is the plant's own task"
        )
    if tag.write and not hasattr(found.modules[tag.from_].Connector, "write"):
        findings.error(
            (*at, "write"), f"the connector `{tag.from_}` can only read", "remove `write: true`, or write through another connector"
        )
    if tag.write and not tag.safety and (word := _safety_word(findings, name)):
        findings.warn(
            (*at, "write"), f"`{word}` sounds safety-related, and the tag may be written", "if it is, say `safety: true` and remove `write`"
        )


def _safety_word(findings: Findings, name: str) -> str | None:
    """Whether the tag's name or address says safety."""
    node = find(findings.root, ("tags", name))
    values = [getattr(entry.node, "value", None) for entry in node.entries.values()] if isinstance(node, Mapping) else []
    texts = [name, *(value for value in values if isinstance(value, str))]
    return next((match[0] for text in texts if (match := _SMELLS_OF_SAFETY.search(text))), None)


def _units(findings: Findings, at: At, tag: Tag) -> None:
    from edge_agent import units  # stdlib only, and only a file with units needs it

    for key, unit in (("unit", tag.unit), ("source_unit", tag.source_unit)):
        if unit is not None and not units.known(unit):
            _unknown_unit(findings, (*at, key), unit, needed=tag.source_unit is not None)
    if tag.source_unit is not None and tag.unit is None:
        findings.error((*at, "source_unit"), "`source_unit` without `unit`", "add `unit:`, the unit that the agent shall use")
    elif tag.source_unit is not None and tag.unit is not None and units.known(tag.unit) and units.known(tag.source_unit):
        try:
            units.factor(tag.source_unit, tag.unit)
        except ValueError as error:
            findings.error((*at, "source_unit"), str(error), "")


def _unknown_unit(findings: Findings, at: At, unit: str, *, needed: bool) -> None:
    """An unknown unit is only a name, until something must be converted."""
    from edge_agent import units

    hint = ""
    try:
        units.factor(unit, "1")
    except ValueError as error:
        hint = str(error).rpartition("; ")[2]
    (findings.error if needed else findings.warn)(at, f"the unit `{unit}` is not known: it cannot be converted or compared", hint)


def _perceive(findings: Findings, name: str, loop: Loop, found: Sections, names: Collection[str]) -> None:
    at: At = ("loops", name, "perceive")
    perceive = loop.perceive
    for index, tag in enumerate(perceive.tags):
        findings.tag((*at, "tags", index), tag, names)
        if tag in perceive.tags[:index]:
            findings.error((*at, "tags", index), f"`{tag}` stands here twice", "remove one: each is a channel of the model")
    if any(is_camera(found.tags.get(tag)) for tag in perceive.tags):
        _looks(findings, name, loop, found, names)
    else:
        _rows(findings, name, loop, found, names)


def _rows(findings: Findings, name: str, loop: Loop, found: Sections, names: Collection[str]) -> None:
    """A loop of numbers."""
    at: At = ("loops", name, "perceive")
    perceive = loop.perceive
    if perceive.follow is not None:
        findings.tag((*at, "follow"), perceive.follow, names)
    if perceive.every is not None and perceive.follow is not None:
        findings.error(at, "`every` and `follow` together", "say one: a grid, or one row per sample of a tag")
    if perceive.part is not None:
        findings.error((*at, "part"), "`part` is for cameras, and none of the tags is one", "name tags of a camera connector, or remove it")
    if perceive.every is None and perceive.follow is None and not _is_waveform(found, perceive.tags):
        findings.error(at, "neither `every` nor `follow`", "say one: a grid like `every: 1 s`, or one row per sample of a tag")
    if perceive.every is not None and perceive.every <= 0:
        findings.error((*at, "every"), "rows cannot lie 0 s apart", "write a time like '1 s'")
    for role, tag in loop.diagnose.roles.items():
        if tag not in perceive.tags:
            findings.unknown(("loops", name, "diagnose", "roles", role), "channel of this loop", tag, perceive.tags)


def _looks(findings: Findings, name: str, loop: Loop, found: Sections, names: Collection[str]) -> None:
    """A loop of pictures."""
    at: At = ("loops", name, "perceive")
    perceive = loop.perceive
    for index, tag in enumerate(perceive.tags):
        if tag in found.tags and not is_camera(found.tags[tag]):
            what = f"`{tag}` is no picture, and its neighbours are"
            findings.error((*at, "tags", index), what, "a loop looks at pictures or at numbers: make two loops")
    for key in ("every", "follow", "cycle"):
        if getattr(perceive, key) is not None:
            findings.error((*at, key), f"`{key}` is for numbers, and these tags are cameras", "remove it, or say `part:`")
    if perceive.window != 1:
        findings.error((*at, "window"), "a picture is a window of its own", "write `window: 1`")
    if perceive.part is not None:
        _part(findings, (*at, "part"), perceive.part, names)


def _part(findings: Findings, at: At, part: Parts, names: Collection[str]) -> None:
    findings.tag((*at, "trigger"), part.trigger, names)
    belt = part.belt
    if (belt is None) == (part.deadline is None):
        findings.error(at, "say either `deadline` or `belt`", "a time after the trigger, or the way to the gate", key=True)
    if belt is None:
        if part.deadline is not None and part.delay + part.within >= part.deadline:
            what = f"a picture may come {(part.delay + part.within) * 1000:g} ms after the trigger, the verdict {part.deadline * 1000:g} ms"
            findings.error((*at, "within"), what, "leave time for the model and the write")
        return
    if (belt.speed is None) == (belt.encoder is None):
        findings.error((*at, "belt"), "say either `speed` or `encoder`", "name the tag that tells how the belt moves", key=True)
    for key in ("speed", "encoder"):
        if (tag := getattr(belt, key)) is not None:
            findings.tag((*at, "belt", key), tag, names)
    if belt.camera >= belt.gate:
        findings.error(
            (*at, "belt", "gate"), f"the gate lies {belt.gate:g} m from the trigger, the camera {belt.camera:g} m", "the camera comes first"
        )


def _is_waveform(found: Sections, tags: list[str]) -> bool:
    """A single channel of waveform blocks brings its own rate."""
    decode = getattr(found.tags.get(tags[0]), "decode", None)
    return len(tags) == 1 and (tags[0] not in found.tags or getattr(decode, "rate", None) is not None)


def _mode(findings: Findings, name: str, loop: Loop) -> None:
    at: At = ("loops", name)
    if loop.mode == "armed" and loop.tier == 0:
        findings.error(
            (*at, "mode"),
            "tier 0 never writes, so it cannot be armed",
            "say `tier: 1` (small reversible actions) or `tier: 2`, or `mode: advise`",
        )
    if loop.mode == "armed" and not loop.execute:
        findings.error(
            (*at, "mode"), "armed, but nothing may be written", "add `execute:` with a tag and its limits, or say `mode: advise`"
        )
    if loop.rearm == "auto" and loop.tier != 1:
        findings.error((*at, "rearm"), f"tier {loop.tier} never re-arms by itself", "remove `rearm`, or say `tier: 1`")


def _model(findings: Findings, name: str, loop: Loop, file: str | None) -> None:
    """A missing bundle stops an armed loop without a fall-back; others may get theirs later, by `models install`."""
    from edge_agent import places

    if file is None or loop.mode == "off":
        return
    said = loop.diagnose
    more = [(("also", i, "model"), m.model) for i, m in enumerate(said.also)]
    more += [(("fallback", i, "model"), m.model) for i, m in enumerate(said.fallback) if m.model is not None]
    for at, model in [(("model",), said.model), *more]:
        if places.bundle(model, Path(file)) is None:
            stops = loop.mode == "armed" and not said.also and not said.fallback
            note = findings.error if stops else findings.warn
            what = f"there is no model bundle `{model}` (a folder with card.yaml)"
            note(("loops", name, "diagnose", *at), what, "`edge-agent models list` shows what is installed")


def _one_master(findings: Findings, loops: dict[str, Loop]) -> None:
    """Each tag has one loop that may write it; a lease counter too, and nothing else may be written there."""
    masters: dict[str, str] = {}
    acted_on = {tag for loop in loops.values() for tag in loop.execute}
    for name, loop in loops.items():
        for tag, write in loop.execute.items():
            at: At = ("loops", name, "execute", tag)
            _claim(findings, masters, at, tag, name)
            if write.lease is not None and write.lease.tag in acted_on:
                what = f"`{write.lease.tag}` is written by an action: the heartbeat would overwrite it with its count"
                findings.error((*at, "lease", "tag"), what, "name a counter of its own in the PLC")
            elif write.lease is not None and masters.get(write.lease.tag) != name:
                _claim(findings, masters, (*at, "lease", "tag"), write.lease.tag, name)


def _claim(findings: Findings, masters: dict[str, str], at: At, tag: str, loop: str) -> None:
    other = masters.setdefault(tag, loop)
    if other != loop:
        findings.error(
            at, f"`{tag}` is written by the loop `{other}` already", "one tag has one master: remove it from one of them", key=at[-1] == tag
        )


def _unused(findings: Findings, found: Sections) -> None:
    """What nothing uses is probably a mistake."""
    used = {tag.from_ for tag in found.tags.values()}
    tags = find(findings.root, ("tags",))
    for entry in tags.entries.values() if isinstance(tags, Mapping) else ():
        source = child(entry.node, "from")
        used.add(str(getattr(source.node, "value", "")) if source else "")
    for name in _keys(findings, "connectors"):
        if name not in used:
            findings.warn(("connectors", name), "no tag comes from this connector", "remove it, or add tags with `from: " + name + "`")
