"""Which values does each copy of a template get? From `with`, `each` and the template's defaults."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator

from edge_agent.config import substitute
from edge_agent.config.suggest import cure
from edge_agent.config.tree import Entry, Mapping, Node, Path, Scalar, Sequence, Span, entries

MOST = 10_000

_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")

Wrong = tuple[Span, Path, str, str]  # place, path, what is wrong, how to mend it
Note = Callable[[Span, Path, str, str], None]
Row = tuple[Path, Node | None]


def params(template: Node) -> list[str]:
    """The names of a template's parameters."""
    listed = template.entries["params"].node if isinstance(template, Mapping) else None
    return [str(item.value) for item in listed.items if isinstance(item, Scalar)] if isinstance(listed, Sequence) else []


def copies(use: Node, path: Path, template: Node, *, limit: int, note: Note) -> Iterator[tuple[Path, dict[str, Node]]]:
    """The values of each copy, with the place that asks for it. Nothing where something is wrong with the use."""
    wrong: list[Wrong] = []
    each, rows = entries(use, "each"), _rows(use, path)
    choices = {name: _choices(entry.node, (*path, "each", name), wrong) for name, entry in each.items()}
    number = math.prod(map(len, choices.values())) * len(rows)
    if number > min(limit, MOST):
        wrong.append((use.span, path, f"{number} copies are too many for one agent", "split the plant over several agents"))
    for at, row in rows:
        wrong += _unknown(row, at, template, each)
        wrong += _missing(row, at, template, each, place=(row or use).span)
    wrong += _unused(each, rows, path, template)
    if wrong:
        for told in wrong:
            note(*told)
        return
    defaults = {name: entry.node for name, entry in entries(template, "defaults").items()}
    for chosen, (at, row) in itertools.product(_combinations(choices), rows):
        try:
            yield at, defaults | chosen | _given(row, chosen)
        except substitute.CannotJoin as error:
            note(error.span, at, str(error), 'let that value stand alone: "${name}"')


def _combinations(choices: dict[str, list[Node]]) -> Iterator[dict[str, Node]]:
    return (dict(zip(choices, combination, strict=True)) for combination in itertools.product(*choices.values()))


def _given(row: Node | None, chosen: dict[str, Node]) -> dict[str, Node]:
    found = row.entries if isinstance(row, Mapping) else {}
    return {name: substitute.apply(entry.node, chosen, None) for name, entry in found.items()}


def _rows(use: Node, path: Path) -> list[Row]:
    """The mappings under `with`: one, several, or none at all."""
    given = use.entries.get("with") if isinstance(use, Mapping) else None
    if given is None or isinstance(given.node, Scalar):
        return [(path, None)]
    if isinstance(given.node, Mapping):
        return [(path, given.node)]
    return [((*path, "with", index), item) for index, item in enumerate(given.node.items)]


def _choices(node: Node, path: Path, wrong: list[Wrong]) -> list[Node]:
    """What one name of `each` runs through."""
    if isinstance(node, Sequence):
        return node.items
    text = str(node.value) if isinstance(node, Scalar) else ""
    match = _RANGE.fullmatch(text)
    if match is None:
        wrong.append((node.span, path, f"'{text}' is not a range", "write 1..12, 01..12, or a list"))
        return []
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MOST:
        wrong.append((node.span, path, f"{text} runs over {max(last - first + 1, 0)} numbers", f"1 to {MOST} are allowed"))
        return []
    width = len(match[1]) if match[1].startswith("0") and len(match[1]) > 1 else 0
    return [Scalar(f"{value:0{width}d}" if width else value, node.span) for value in range(first, last + 1)]


def _unknown(row: Node | None, at: Path, template: Node, each: dict[str, Entry]) -> Iterator[Wrong]:
    """Names in a row that nothing defines."""
    wanted = params(template)
    for name, entry in row.entries.items() if isinstance(row, Mapping) else ():
        if name not in wanted:
            yield entry.key, (*at, name), f"`{name}` is not a parameter of this template", cure(name, wanted)
        for _, span, word in substitute.words(entry.node, ()):
            if word not in each:
                yield span, (*at, name), f"`${{{word}}}` is not known here", cure(word, each, nothing="name it under `each`")


def _missing(row: Node | None, at: Path, template: Node, each: dict[str, Entry], *, place: Span) -> Iterator[Wrong]:
    """Parameters that a row leaves without a value."""
    given = row.entries if isinstance(row, Mapping) else {}
    for name in params(template):
        if name not in given and name not in each and name not in entries(template, "defaults"):
            yield place, at, f"the parameter `{name}` is missing", f"add `{name}:` under `with`"


def _unused(each: dict[str, Entry], rows: list[Row], path: Path, template: Node) -> Iterator[Wrong]:
    """Names of `each` that make copies which are all the same."""
    used = {word for _, row in rows if row is not None for _, _, word in substitute.words(row, ())} | set(params(template))
    for name, entry in each.items():
        if name not in used:
            yield entry.key, (*path, "each", name), f"`{name}` is never used", f"use it in `with` as `${{{name}}}`"
