"""How does one pump become two hundred? `templates:` say what is the same, `use:` says what differs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from edge_agent.config import copies, substitute
from edge_agent.config.explain import explain
from edge_agent.config.suggest import cure
from edge_agent.config.tree import Entry, Mapping, Node, Path, Sequence, Span, Use, entries, mapping, place, plain, problem
from edge_agent.config.types import Model
from edge_agent.errors import Problem

SECTIONS = ("connectors", "tags", "loops")
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

    def note(self, span: Span, path: Path, what: str, mend: str) -> None:
        """This is wrong."""
        self.problems.append(problem(self._file, span, path, what, mend))

    def run(self, rest: dict[str, Entry]) -> None:
        """Put every copy into the sections of `rest`."""
        try:
            Templated.model_validate(plain(self._own))
        except ValidationError as error:
            self.problems += explain(error, Templated, root=self._own, base=(), file=self._file)
            return
        templates = entries(self._own, "templates")
        for name, entry in templates.items():
            self._check(name, entry.node)
        if self.problems:
            return
        added = {section: dict(entries(mapping(rest, self._own.span), section)) for section in SECTIONS}
        uses = self._own.entries["use"].node if "use" in self._own.entries else None
        for number, use in enumerate(uses.items if isinstance(uses, Sequence) else []):
            self._use(use, ("use", number), templates, added)
        for section, found in added.items():
            if found:
                old = rest.get(section)
                rest[section] = (
                    Entry(old.key, mapping(found, old.node.span)) if old else Entry(self._own.span, mapping(found, self._own.span))
                )

    def _check(self, name: str, template: Node) -> None:
        """Every parameter is used, every `${name}` is a parameter."""
        params, at = copies.params(template), ("templates", name)
        used: set[str] = set()
        for section in SECTIONS:
            for key, entry in entries(template, section).items():
                used |= self._words((*at, section, key), key, entry, params)
        for index, word in enumerate(params):
            path = (*at, "params", index)
            if word not in used:
                self.note(place(self._own, path), path, f"the parameter `{word}` is never used", f"remove it, or use it as `${{{word}}}`")
        for word, entry in entries(template, "defaults").items():
            if word not in params:
                self.note(entry.key, (*at, "defaults", word), f"`{word}` is not a parameter of this template", cure(word, params))

    def _words(self, at: Path, key: str, entry: Entry, params: list[str]) -> set[str]:
        used: set[str] = set()
        for path, span, word in substitute.words(mapping({key: entry}, entry.key), at[:-1]):
            used.add(word)
            if word not in params:
                self.note(span, path, f"`${{{word}}}` is not a parameter of this template", cure(word, params))
        return used

    def _use(self, use: Node, path: Path, templates: dict[str, Entry], added: dict[str, dict[str, Entry]]) -> None:
        name = str(plain(use)["template"])
        if name not in templates:
            at = (*path, "template")
            self.note(place(self._own, at), at, f"there is no template `{name}`", cure(name, templates))
            return
        template = templates[name].node
        for at, values in copies.copies(use, path, template, limit=self._left // template.size, note=self.note):
            self._copies += 1
            self._left -= template.size
            span = place(self._own, at)
            self._copy(template, values, Use(span.line, span.column, self._copies), added)

    def _copy(self, template: Node, values: dict[str, Node], use: Use, added: dict[str, dict[str, Entry]]) -> None:
        for section in SECTIONS:
            for key, entry in entries(template, section).items():
                try:
                    name = substitute.key(key, values, place=entry.key)
                    copied = Entry(entry.key._replace(use=use), substitute.apply(entry.node, values, use))
                except substitute.CannotJoin as error:
                    self.note(error.span._replace(use=use), (section, key), str(error), 'let that value stand alone: "${name}"')
                    continue
                if name in added[section]:
                    what = f"`{name}` exists already, from line {added[section][name].key.line}"
                    self.note(copied.key, (section, name), what, "let a parameter make the name different")
                else:
                    added[section][name] = copied
