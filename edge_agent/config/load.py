"""How does a YAML file become a checked configuration? Reads, expands, resolves, validates, checks; tells all problems at once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from edge_agent.config import check, sections, templates, yaml
from edge_agent.config import secrets as vault
from edge_agent.config.explain import explain
from edge_agent.config.model import Agent, File, Tag
from edge_agent.config.sections import Sections
from edge_agent.config.tree import Mapping as Branch
from edge_agent.config.tree import Node, child, mapping, place, plain, problem, spell, tagged
from edge_agent.errors import ConfigError, Problem

_UNSAID: Any = {  # of the hash: what plug-ins read is said as they read it; the folder depends on who starts the agent
    "connectors": True,
    "tags": True,
    "loops": {"__all__": {"decide"}},
    "agent": {"state"},
}


class Places:
    """Where everything stands in the file. The tree of a thousand loops is 30 MB and hardly ever asked for: then it is made again."""

    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._root: Node | None = None

    @property
    def root(self) -> Node:
        """The expanded tree of a text that is known to be right."""
        if self._root is None:
            root, _ = yaml.read(self._text, self._file)
            if not isinstance(root, Branch):
                raise TypeError(f"{self._file}: held a configuration before")
            self._root, _ = templates.expand(root, self._file, limit=yaml.MAX_NODES)
        return self._root


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A configuration that holds together. Secrets are SecretStr; nothing here shows them."""

    path: Path | None
    file: File
    connectors: Mapping[str, BaseModel]  # name -> the plug-in's Config
    tags: Mapping[str, Tag]  # name -> the plug-in's Tag
    policies: Mapping[str, BaseModel]  # loop -> the policy's Config
    hash: str  # sha256 of what it says, without secrets; comments and spelling do not change it
    warnings: tuple[Problem, ...] = ()
    places: Places = field(repr=False, compare=False)

    @property
    def root(self) -> Node:
        """What the file says, with its places."""
        return self.places.root

    def at(self, *path: str | int) -> str:
        """Where a path stands, for messages of others: 'pump.yaml:7:14: loops.p1.execute'."""
        span = place(self.root, path)
        return f"{self.path or 'configuration'}:{span.line}:{span.column}: {spell(path)}"


def load(path: Path | str, *, resolve_secrets: bool = True, resolve_environment: bool | None = None) -> Configuration:
    """Read a file. ConfigError holds everything that is wrong with it. Who only asks the agent needs no secrets."""
    path = Path(path)
    text = _text(path)
    return parse(text, str(path), folder=path.parent, resolve_secrets=resolve_secrets, resolve_environment=resolve_environment)


def agent(path: Path) -> Agent:
    """Whose file it is, whatever else is wrong with it: an agent is asked and stopped with a broken file, too."""
    file = str(path)
    root, problems = yaml.read(_text(path), file)
    section = child(root, "agent")
    if section is None:
        raise ConfigError(problems or [problem(file, place(root, ()), ("agent",), "`agent` is missing", "add `agent:`, who this agent is")])
    alone = mapping({"agent": section}, section.key)
    words, problems = _resolve(alone, file, path.parent, os.environ, {"!secret": False})
    if problems:
        raise ConfigError(problems)
    try:
        return _settled(Agent.model_validate_json(json.dumps(plain(section.node, words))), path)
    except ValidationError as error:
        raise ConfigError(explain(error, Agent, root=alone, base=("agent",), file=file)) from error


def parse(
    text: str,
    file: str = "configuration",
    *,
    folder: Path | None = None,
    resolve_secrets: bool = True,
    resolve_environment: bool | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Read a text that stands (or would stand) in `folder`. `environment` stands in for the process's own."""
    root, problems = yaml.read(text, file)
    if root is None:
        raise ConfigError(problems)
    if not isinstance(root, Branch):
        raise ConfigError([*problems, problem(file, root.span, (), "not a configuration", "it starts with keys, like 'version: 1'")])
    root, more = templates.expand(root, file, limit=yaml.MAX_NODES)
    problems += more
    wanted = {"!secret": resolve_secrets, "!env": resolve_secrets if resolve_environment is None else resolve_environment}
    words, more = _resolve(root, file, folder, os.environ if environment is None else environment, wanted)
    problems += more
    found = sections.read(root, words, file)
    told = {(each.line, each.column) for each in problems}
    problems += [each for each in found.problems if (each.line, each.column) not in told]
    serious, warnings = check.check(found, root=root, file=file, folder=folder)
    problems += serious
    if found.file is None and not problems:
        problems = [
            Problem(file, 0, 0, "", "cannot be judged without what stands behind its `!env`", "set the variables, and check it whole")
        ]
    if problems or found.file is None:
        raise ConfigError(_fold(problems, words), tuple(_fold(warnings, words)))
    path = Path(file) if folder is not None else None
    return Configuration(
        path=path,
        file=found.file.model_copy(update={"agent": _settled(found.file.agent, path)}) if path else found.file,
        connectors=found.connectors,
        tags=found.tags,
        policies=found.policies,
        hash=fingerprint(found),
        warnings=tuple(_fold(warnings, words)),
        places=Places(text, file),
    )


def _settled(agent: Agent, path: Path) -> Agent:
    """With its state folder."""
    from edge_agent import places

    return agent if agent.state else agent.model_copy(update={"state": str(places.default_state(path))})


def _text(path: Path) -> str:
    """The file's text; refuses what cannot be a configuration before reading it."""
    try:
        with path.open("rb") as stream:
            content = stream.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}", "give the path of a YAML file")]) from error
    if len(content) > yaml.MAX_BYTES:
        what = f"larger than {yaml.MAX_BYTES // 1024**2} MiB: too large for a configuration"
        raise ConfigError([Problem(str(path), 0, 0, "", what, "use templates, or give another file")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        what = f"byte {content[error.start]:#04x} is not UTF-8 text"
        raise ConfigError([Problem(str(path), line, column, "", what, "save the file as UTF-8", 1)]) from error


def _resolve(
    root: Node, file: str, folder: Path | None, environment: Mapping[str, str], wanted: Mapping[str, bool]
) -> tuple[dict[str, str], list[Problem]]:
    """What stands behind each tag that is wanted."""
    words: dict[str, str] = {}
    problems: list[Problem] = []
    for path, scalar in tagged(root):
        if not wanted.get(scalar.tag, True):
            continue
        try:
            words[f"{scalar.tag} {scalar.value}"] = vault.resolve(scalar.tag, scalar.value, folder, environment)
        except vault.Unreadable as error:
            problems.append(problem(file, scalar.span, path, str(error), error.cure))
    return words, problems


def _fold(problems: list[Problem], words: Mapping[str, str]) -> list[Problem]:
    """Two hundred copies of one mistake are told once; what stands behind a secret is never told."""
    seen: dict[tuple[int, int, int, int], list[Problem]] = {}
    nth: dict[tuple[int, int, int], int] = {}
    for each in problems:
        copy = (each.line, each.column, each.use[1] if each.use else 0)
        nth[copy] = nth.get(copy, 0) + 1
        place = (each.line, each.column, nth[copy], 1 if each.use else 0)
        seen.setdefault(place, []).append(each)
    return [_masked(alike[0], len(alike) - 1, words) for alike in seen.values()]


def _masked(told: Problem, others: int, words: Mapping[str, str]) -> Problem:
    more = f" (and in {others} more {'copy' if others == 1 else 'copies'})" if others else ""
    what, cure = told.what + more, told.cure
    for tag, secret in words.items():
        if len(secret) > 3:
            what, cure = what.replace(secret, f"<{tag}>"), cure.replace(secret, f"<{tag}>")
    return Problem(told.file, told.line, told.column, told.path, what, cure, told.length, told.use)


def fingerprint(found: Sections) -> str:
    """sha256 over what the configuration says once defaults are put in: the same words in another order are the same."""
    file = found.file.model_dump(mode="json", by_alias=True, exclude=_UNSAID) if found.file else None
    digest = hashlib.sha256(b'{"connectors":{')
    for part in _dumped(found.connectors):
        digest.update(part)
    digest.update(f'}},"file":{_canonical(file)},"policies":{{'.encode())
    for part in _dumped(found.policies):
        digest.update(part)
    digest.update(b'},"tags":{')
    for part in _dumped(found.tags):
        digest.update(part)
    digest.update(b"}}")
    return digest.hexdigest()


def _dumped(entries: Mapping[str, BaseModel]) -> Iterator[bytes]:
    """The entries of one JSON object, one after the other: ten thousand tags at once are 20 MB."""
    for i, name in enumerate(sorted(entries)):
        yield f"{',' if i else ''}{json.dumps(name)}:{_canonical(entries[name].model_dump(mode='json', by_alias=True))}".encode()


def _canonical(said: Any) -> str:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), default=str)
