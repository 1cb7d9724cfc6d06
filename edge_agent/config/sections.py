"""Is every section right on its own? Core parts by their models, plug-in parts by the plug-in's models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from edge_agent import plugin
from edge_agent.config.explain import explain
from edge_agent.config.keys import spelled
from edge_agent.config.model import File, Loop, Tag
from edge_agent.config.suggest import cure
from edge_agent.config.tree import Mapping, Node, Path, Scalar, find, place, plain, problem, tagged
from edge_agent.errors import Problem

M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True, kw_only=True)
class Sections:
    """What could be read, even where other parts are wrong."""

    file: File | None = None
    loops: dict[str, Loop] = field(default_factory=dict)
    connectors: dict[str, BaseModel] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)
    policies: dict[str, BaseModel] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)  # connector's name -> its plug-in
    problems: list[Problem] = field(default_factory=list)


def read(root: Mapping, words: dict[str, str], file: str) -> Sections:
    """Validate everything. `words` gives what stands behind '!secret x' and '!env X'; what is not in it is not judged."""
    reader = _Reader(root, words, file)
    reader.core()
    reader.connectors()
    reader.tags()
    reader.policies()
    reader.refuse_shown_secrets()
    return reader.result


class _Reader:
    """Walks the sections in turn; gathers problems."""

    def __init__(self, root: Mapping, words: dict[str, str], file: str) -> None:
        self._root, self._words, self._file = root, words, file
        self._tagged = list(tagged(root))
        self.result = Sections()

    def core(self) -> None:
        """Everything but what plug-ins define; where that fails, at least the loops that are right."""
        masked = {name: plain(entry.node) for name, entry in self._root.entries.items()}
        real = masked | {name: plain(entry.node, self._words) for name, entry in self._root.entries.items() if name not in _PLUGGED}
        self.result.file = self._validate(File, real, ())
        if self.result.file is not None:
            self.result.loops = dict(self.result.file.loops)
            return
        for name, _ in self._children("loops"):
            try:
                self.result.loops[name] = Loop.model_validate_json(json.dumps(real["loops"][name]))
            except ValidationError:
                continue  # told already, as part of the file

    def connectors(self) -> None:
        """Each by its plug-in's Config."""
        for name, node in self._children("connectors"):
            path: Path = ("connectors", name)
            if isinstance(node, Mapping) and (module := self._plugin("connector", node, path, "type")) is not None:
                self.result.modules[name] = module
                config = self._validate(module.Config, plain(node, self._words), path)
                if config is not None:
                    self.result.connectors[name] = config

    def tags(self) -> None:
        """Each by the Tag of the connector it comes from."""
        names = [name for name, _ in self._children("connectors")]
        for name, node in self._children("tags"):
            path: Path = ("tags", name)
            source = self._word(node, "from", path, "the connector it comes from")
            if source is None:
                continue
            if source not in names:
                at = (*path, "from")
                self._note(at, f"there is no connector `{source}`", cure(source, names, nothing="name one under `connectors:`"))
            elif (module := self.result.modules.get(source)) is not None:
                tag = self._validate(module.Tag, plain(node, self._words), path)
                if tag is not None:
                    self.result.tags[name] = tag

    def policies(self) -> None:
        """Each loop's `decide` by its policy's Config."""
        for name, _ in self._children("loops"):
            path: Path = ("loops", name, "decide")
            node = find(self._root, path)
            if isinstance(node, Mapping) and (module := self._plugin("policy", node, path, "policy")) is not None:
                config = self._validate(module.Config, plain(node, self._words), path)
                if config is not None:
                    self.result.policies[name] = config

    def refuse_shown_secrets(self) -> None:
        """A secret where the model would show it is refused."""
        for path, scalar in self._tagged:
            held = _held(self._owner(path)) if scalar.tag == "!secret" else None
            if held is not None and not isinstance(held, SecretStr):
                self._note(path, "a secret may not stand here: it would be shown in status and logs", "write it plainly, or use !env")

    def _owner(self, path: Path) -> tuple[Any, Path]:
        """The validated value that holds this path, and the rest of the path inside it."""
        head = str(path[0])
        if head in ("connectors", "tags"):
            return getattr(self.result, head).get(path[1]), path[2:]
        if head == "loops" and len(path) > 3 and path[2] == "decide":
            return self.result.policies.get(str(path[1])), path[3:]
        return self.result.file, path

    def _children(self, section: str) -> Iterator[tuple[str, Node]]:
        node = find(self._root, (section,))
        if isinstance(node, Mapping):
            yield from ((name, entry.node) for name, entry in node.entries.items())

    def _word(self, node: Node, key: str, path: Path, meaning: str) -> str | None:
        """The text under a key that says which plug-in reads the rest."""
        if not isinstance(node, Mapping):
            return None
        word = find(node, (key,))
        if word is None:
            self._note((*path, key), f"`{key}` is missing", f"add `{key}:`, {meaning}")
        elif isinstance(word, Scalar) and isinstance(word.value, str) and not word.tag:
            return word.value
        else:
            self._note((*path, key), f"`{key}` is not a name", f"write {meaning}")
        return None

    def _plugin(self, kind: plugin.Kind, node: Node, path: Path, key: str) -> ModuleType | None:
        name = self._word(node, key, path, f"the kind of {kind}, like {_LIKE[kind]}")
        if name is None:
            return None
        try:
            return plugin.load(kind, name)
        except plugin.PluginNotFound:
            self._note((*path, key), f"no {kind} is called `{name}`", cure(name, plugin.names(kind)))
        except ImportError as error:
            self._note((*path, key), f"the {kind} `{name}` cannot be loaded: {error}", "install what it needs")
        return None

    def _validate(self, model: type[M], data: Any, path: Path) -> M | None:
        """As JSON, because there a list may become a tuple and a text a path, while true is still no number."""
        try:
            return model.model_validate_json(json.dumps(data))
        except ValidationError as error:
            found = explain(error, model, root=self._root, base=path, file=self._file)
        unread = {_where(self._root, at) for at, scalar in self._tagged if f"{scalar.tag} {scalar.value}" not in self._words}
        self.result.problems += [each for each in found if (each.line, each.column) not in unread]
        return None

    def _note(self, path: Path, what: str, mend: str) -> None:
        self.result.problems.append(problem(self._file, place(self._root, path), path, what, mend))


_PLUGGED = ("connectors", "tags")
_LIKE = {"connector": "opcua", "policy": "rules", "head": "anomaly"}


def _where(root: Node, path: Path) -> tuple[int, int]:
    span = place(root, path)
    return span.line, span.column


def _held(owner: tuple[Any, Path]) -> Any:
    """What a validated value holds at a path; None where it cannot be found."""
    value, path = owner
    for step in path:
        if isinstance(value, BaseModel):
            names = {spelled(name, field): name for name, field in type(value).model_fields.items()}
            value = getattr(value, names.get(str(step), ""), None)
        elif isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value
