"""How does one pump become two hundred? `templates:` say what is the same, `use:` says what differs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, ValidationError

from edge_agent.config import substitute
from edge_agent.config.explain import explain
from edge_agent.config.suggest import cure
from edge_agent.config.tree import Entry, Mapping, Node, Path, Scalar, Sequence, Span, Use, mapping, place, plain, problem
from edge_agent.config.types import Model
from edge_agent.errors import Problem

SECTIONS = ("connectors", "tags", "loops")
MAX_COPIES = 10_000

_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
ParamName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]


class Template(Model):
    """What is the same on every pump. `${name}` stands for a parameter, in values and in keys."""

    params: Annotated[list[ParamName], Field(min_length=1, description="what differs from use to use; each must be used")]
    defaults: dict[ParamName, Any] = Field(default_factory=dict, description="values of parameters that a use may leave out")
    connectors: dict[str, Any] = Field(default_factory=dict)
    tags: dict[str, Any] = Field(default_factory=dict)
    loops: dict[str, Any] = Field(default_factory=dict)


class Copies(Model):
    """One use of a template: one copy, one for each row of `with`, one for each combination of `each`."""

    template: str
    with_: dict[str, Any] | list[dict[str, Any]] = Field(
        default_factory=dict, alias="with", description="parameter -> value; a list of these makes one copy for each"
    )
    each: dict[ParamName, list[str | int | float | bool] | str] = Field(
        default_factory=dict, description="name -> list, or a range like 1..12 or 01..12; one copy for every combination"
    )


class Templated(Model):
    """The two sections of the file that are gone once templates are expanded."""

    templates: dict[ParamName, Template] = Field(default_factory=dict)
    use: list[Copies] = Field(default_factory=list)


def expand(root: Mapping, file: str, *, limit: int) -> tuple[Mapping, list[Problem]]:
    """The tree with every use put in, without `templates` and `use`. `limit` bounds the nodes of the result."""
    own = {key: entry for key, entry in root.entries.items() if key in ("templates", "use")}
    bare = mapping({key: entry for key, entry in root.entries.items() if key not in own}, root.span)
    bare, problems = _without_words(bare, file)
    if not own:
        return bare, problems
    rest = dict(bare.entries)
    expansion = _Expansion(mapping(own, root.span), file, limit)
    expansion.run(rest)
    return mapping(rest, root.span), problems + expansion.problems


def _without_words(root: Mapping, file: str) -> tuple[Mapping, list[Problem]]:
    """Outside templates `${x}` is a mistake: somebody meant an environment variable. `$${` is a plain `${` everywhere."""
    stray = list(substitute.words(root, ()))
    mend = "for an environment variable write !env NAME; for the characters themselves write $${"
    wrong = [problem(file, span, path, f"`${{{word}}}` has a meaning only in templates", mend) for path, span, word in stray]
    bare = substitute.apply(root, {}, None) if not stray and substitute.escaped(root) else root
    return (bare if isinstance(bare, Mapping) else root), wrong


class _Expansion:
    """One run over all uses; gathers problems."""

    def __init__(self, own: Mapping, file: str, limit: int) -> None:
        self._own, self._file, self._left = own, file, limit
        self._copies = 0
        self.problems: list[Problem] = []

    def run(self, rest: dict[str, Entry]) -> None:
        """Put every copy into the sections of `rest`."""
        try:
            Templated.model_validate(plain(self._own))
        except ValidationError as error:
            self.problems += explain(error, Templated, root=self._own, base=(), file=self._file)
            return
        templates = self._section("templates")
        for name in templates:
            self._check(name, templates[name].node)
        if self.problems:
            return
        added: dict[str, dict[str, Entry]] = {section: dict(_entries(rest, section)) for section in SECTIONS}
        uses = self._own.entries.get("use")
        for number, use in enumerate(uses.node.items if uses and isinstance(uses.node, Sequence) else []):
            self._use(use, number, templates, added)
        for section, entries in added.items():
            if entries:
                old = rest.get(section)
                rest[section] = Entry(old.key if old else self._own.span, mapping(entries, old.node.span if old else self._own.span))

    def _section(self, name: str) -> dict[str, Entry]:
        entry = self._own.entries.get(name)
        return entry.node.entries if entry and isinstance(entry.node, Mapping) else {}

    def _note(self, span: Span, path: Path, what: str, mend: str) -> None:
        self.problems.append(problem(self._file, span, path, what, mend))

    def _check(self, name: str, template: Node) -> None:
        """Every parameter is used, every `${name}` is a parameter."""
        params = {str(value): index for index, value in enumerate(plain(template)["params"])}
        used: set[str] = set()
        for path, span, word in self._words(template):
            used.add(word)
            if word not in params:
                self._note(span, ("templates", name, *path), f"`${{{word}}}` is not a parameter of this template", cure(word, params))
        for word, index in params.items():
            path = ("templates", name, "params", index)
            if word not in used:
                self._note(place(self._own, path), path, f"the parameter `{word}` is never used", f"remove it, or use it as `${{{word}}}`")
        for word in plain(template).get("defaults", {}):
            path = ("templates", name, "defaults", word)
            if word not in params:
                self._note(place(self._own, path, key=True), path, f"`{word}` is not a parameter of this template", cure(word, params))

    def _words(self, template: Node) -> Iterator[tuple[Path, Span, str]]:
        for section in SECTIONS:
            if isinstance(template, Mapping) and (entry := template.entries.get(section)):
                yield from substitute.words(entry.node, (section,))

    def _use(self, use: Node, number: int, templates: dict[str, Entry], added: dict[str, dict[str, Entry]]) -> None:
        path: Path = ("use", number)
        name = str(plain(use)["template"])
        if name not in templates:
            self._note(place(self._own, (*path, "template")), (*path, "template"), f"there is no template `{name}`", cure(name, templates))
            return
        template = templates[name].node
        for row_path, bound in self._rows(use, path):
            if (values := self._bind(template, bound, row_path)) is None:
                return
            self._copies += 1
            self._left -= template.size
            if self._copies > MAX_COPIES or self._left < 0:
                self._note(place(self._own, path), path, "too many copies for one agent", "split the plant over several agents")
                return
            self._copy(template, values, row_path, added)

    def _rows(self, use: Node, path: Path) -> Iterator[tuple[Path, dict[str, Node]]]:
        """The values of each copy: every row of `with` for every combination of `each`."""
        each = _entries_of(use, "each")
        choices = [self._choices(entry.node, (*path, "each", name)) for name, entry in each.items()]
        given = use.entries.get("with") if isinstance(use, Mapping) else None
        rows = given.node.items if given and isinstance(given.node, Sequence) else [given.node if given else None]
        self._unused(each, rows, use, path)
        for combination in itertools.product(*choices):
            chosen = dict(zip(each, combination, strict=True))
            for index, row in enumerate(rows):
                at = (*path, "with", index) if len(rows) > 1 else path
                yield at, self._row(row, chosen, at)

    def _row(self, row: Node | None, chosen: dict[str, Node], path: Path) -> dict[str, Node]:
        bound = dict(chosen)
        for name, entry in row.entries.items() if isinstance(row, Mapping) else ():
            for _, span, word in substitute.words(entry.node, ()):
                if word not in chosen:
                    self._note(span, (*path, name), f"`${{{word}}}` is not known here", cure(word, chosen, nothing="name it under `each`"))
            bound[name] = substitute.apply(entry.node, chosen, None)
        return bound

    def _choices(self, node: Node, path: Path) -> list[Node]:
        """What one name of `each` runs through."""
        if isinstance(node, Sequence):
            return node.items
        text = str(node.value) if isinstance(node, Scalar) else ""
        match = _RANGE.fullmatch(text)
        if match is None:
            self._note(node.span, path, f"'{text}' is not a range", "write 1..12, 01..12, or a list")
            return []
        first, last = int(match[1]), int(match[2])
        if not 0 <= last - first < MAX_COPIES:
            self._note(node.span, path, f"{text} runs over {max(last - first + 1, 0)} numbers", f"1 to {MAX_COPIES} are allowed")
            return []
        padded = len(match[1]) if match[1].startswith("0") and len(match[1]) > 1 else 0
        return [Scalar(f"{value:0{padded}d}" if padded else value, node.span) for value in range(first, last + 1)]

    def _unused(self, each: dict[str, Entry], rows: list[Any], use: Node, path: Path) -> None:
        used = {word for row in rows if row is not None for _, _, word in substitute.words(row, ())}
        template = self._section("templates").get(str(plain(use)["template"]))
        params = plain(template.node)["params"] if template else []
        for name, entry in each.items():
            if name not in used and name not in params:
                self._note(entry.key, (*path, "each", name), f"`{name}` is never used", f"use it in `with` as `${{{name}}}`")

    def _bind(self, template: Node, bound: dict[str, Node], path: Path) -> dict[str, Node] | None:
        """The value of every parameter; None and a problem where one is missing or unknown."""
        params = [str(name) for name in plain(template)["params"]]
        values = {name: entry.node for name, entry in _entries_of(template, "defaults").items()}
        before, each = len(self.problems), _entries_of(_at(self._own, path[:2]), "each")
        for name, node in bound.items():
            if name in params:
                values[name] = node
            elif name not in each:
                self._note(node.span, (*path, name), f"`{name}` is not a parameter of this template", cure(name, params))
        for name in params:
            if name not in values:
                self._note(place(self._own, path), path, f"the parameter `{name}` is missing", f"add `{name}:` under `with`")
        return values if len(self.problems) == before else None

    def _copy(self, template: Node, values: dict[str, Node], path: Path, added: dict[str, dict[str, Entry]]) -> None:
        span = place(self._own, path)
        use = Use(span.line, span.column, self._copies)
        for section in SECTIONS:
            for key, entry in _entries_of(template, section).items():
                try:
                    name = substitute.key(key, values, place=entry.key)
                    copied = Entry(entry.key._replace(use=use), substitute.apply(entry.node, values, use))
                except substitute.CannotJoin as error:
                    self._note(error.span._replace(use=use), (section, key), str(error), 'let that value stand alone: "${name}"')
                    continue
                if name in added[section]:
                    line = added[section][name].key.line
                    self._note(
                        copied.key, (section, name), f"`{name}` exists already, from line {line}", "let a parameter make the name different"
                    )
                else:
                    added[section][name] = copied


def _at(root: Node, path: Path) -> Node:
    for step in path:
        root = root.items[step] if isinstance(root, Sequence) and isinstance(step, int) else root.entries[str(step)].node  # type: ignore[union-attr]
    return root


def _entries(rest: dict[str, Entry], section: str) -> dict[str, Entry]:
    entry = rest.get(section)
    return entry.node.entries if entry and isinstance(entry.node, Mapping) else {}


def _entries_of(node: Node, name: str) -> dict[str, Entry]:
    return _entries(node.entries, name) if isinstance(node, Mapping) else {}
