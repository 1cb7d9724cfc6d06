"""How does a YAML file become a checked configuration? Reads, expands, resolves, validates, checks; tells all problems at once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edge_agent.config import check, sections, templates, yaml
from edge_agent.config import secrets as vault
from edge_agent.config.model import File, Tag
from edge_agent.config.sections import Sections
from edge_agent.config.tree import Mapping as Branch
from edge_agent.config.tree import Node, place, problem, spell, tagged
from edge_agent.errors import ConfigError, Problem

_PLUGGED: Any = {"connectors": True, "tags": True, "loops": {"__all__": {"decide"}}}  # as plug-ins read them, not as written


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
    if problems or found.file is None:
        raise ConfigError(_fold(problems, words), tuple(_fold(warnings, words)))
    return Configuration(
        path=Path(file) if folder is not None else None,
        file=found.file,
        connectors=found.connectors,
        tags=found.tags,
        policies=found.policies,
        hash=fingerprint(found),
        warnings=tuple(_fold(warnings, words)),
        places=Places(text, file),
    )


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
    said: dict[str, Any] = {"file": found.file.model_dump(mode="json", by_alias=True, exclude=_PLUGGED) if found.file else None}
    for name in ("connectors", "tags", "policies"):
        said[name] = {key: value.model_dump(mode="json", by_alias=True) for key, value in getattr(found, name).items()}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()
