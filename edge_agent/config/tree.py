"""What a YAML file said, and where it said it: nodes that know their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from edge_agent.errors import Problem

Plain = str | int | float | bool | None
Path = tuple[str | int, ...]


class Use(NamedTuple):
    """Which use of a template a node was copied for."""

    line: int
    column: int
    number: int  # counts the copies, from 1


class Span(NamedTuple):
    """A place in the file, counted from 1. `use` is set on what was copied from a template."""

    line: int
    column: int
    length: int = 1
    use: Use | None = None


class Scalar(NamedTuple):
    """One value. With a tag, `value` is the name behind it, never what it stands for."""

    value: Plain
    span: Span
    tag: Literal["", "!secret", "!env"] = ""
    size: int = 1
    height: int = 0


class Entry(NamedTuple):
    """One key of a mapping and what stands behind it."""

    key: Span
    node: Node


class Mapping(NamedTuple):
    """Keys are texts, as written."""

    entries: dict[str, Entry]
    span: Span
    size: int
    height: int


class Sequence(NamedTuple):
    """A list."""

    items: list[Node]
    span: Span
    size: int
    height: int


Node = Scalar | Mapping | Sequence


def mapping(entries: dict[str, Entry], span: Span) -> Mapping:
    """A mapping that knows how large and how deep it is."""
    size, height = _extent([entry.node for entry in entries.values()])
    return Mapping(entries, span, size, height)


def sequence(items: list[Node], span: Span) -> Sequence:
    """A list that knows how large and how deep it is."""
    size, height = _extent(items)
    return Sequence(items, span, size, height)


def _extent(children: list[Node]) -> tuple[int, int]:
    size, height = 1, 0
    for child in children:
        size += child.size
        if child.height >= height:
            height = child.height + 1
    return size, height


def child(node: Node | None, key: str | int) -> Entry | None:
    """What stands under a key or an index, if it is there."""
    if isinstance(node, Mapping):
        return node.entries.get(str(key))
    if isinstance(node, Sequence) and isinstance(key, int) and 0 <= key < len(node.items):
        return Entry(node.items[key].span, node.items[key])
    return None


def entries(node: Node | None, key: str) -> dict[str, Entry]:
    """What stands under a key, if that is a mapping."""
    entry = child(node, key) if isinstance(node, Mapping) else None
    return entry.node.entries if entry is not None and isinstance(entry.node, Mapping) else {}


def find(root: Node | None, path: Path) -> Node | None:
    """The node at a path, or None."""
    for key in path:
        entry = child(root, key)
        if entry is None:
            return None
        root = entry.node
    return root


def place(root: Node | None, path: Path, *, key: bool = False) -> Span:
    """Where a path stands: its value, or with `key` its key; the nearest parent's key where it is not in the file."""
    span = root.span if root is not None else Span(0, 0, 0)
    for number, step in enumerate(path):
        entry = child(root, step)
        if entry is None:
            return span
        wants_value = number == len(path) - 1 and not key and isinstance(entry.node, Scalar)
        span, root = (entry.node.span if wants_value else entry.key), entry.node
    return span


def tagged(root: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every `!secret` and `!env` with its path."""
    if isinstance(root, Scalar):
        if root.tag:
            yield path, root
    elif isinstance(root, Mapping):
        for key, entry in root.entries.items():
            yield from tagged(entry.node, (*path, key))
    else:
        for index, item in enumerate(root.items):
            yield from tagged(item, (*path, index))


def plain(node: Node, words: dict[str, str] | None = None) -> Any:
    """The bare values. `words` gives what stands behind '!secret x'; without it the tag itself stands there."""
    if isinstance(node, Scalar):
        if not node.tag:
            return node.value
        name = f"{node.tag} {node.value}"
        return name if words is None else words.get(name, name)
    if isinstance(node, Mapping):
        return {key: plain(entry.node, words) for key, entry in node.entries.items()}
    return [plain(item, words) for item in node.items]


def spell(path: Path) -> str:
    """('loops', 'p1', 'tags', 0) -> loops.p1.tags[0]"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def problem(file: str, span: Span, path: Path, what: str, cure: str = "") -> Problem:
    """A finding at a place."""
    return Problem(file, span.line, span.column, spell(path), what, cure, span.length, span.use and (span.use.line, span.use.number))
