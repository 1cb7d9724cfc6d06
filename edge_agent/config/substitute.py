"""What does `${name}` become? On parsed values and keys only, so no value can smuggle in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edge_agent.config.tree import Entry, Node, Path, Scalar, Sequence, Span, Use, mapping, sequence

_WORD = re.compile(r"\$\$\{|\$\{([^{}]*)\}")  # `$${` is a plain `${`


class CannotJoin(ValueError):
    """A list or a mapping in the middle of a text."""

    def __init__(self, what: str, span: Span) -> None:
        super().__init__(what)
        self.span = span


def words(node: Node, path: Path) -> Iterator[tuple[Path, Span, str]]:
    """Every `${name}` below a node, with its place."""
    yield from ((at, span, match[1]) for at, span, match in _matches(node, path) if match[1] is not None)


def escaped(node: Node) -> bool:
    """Whether there is a `$${` below a node."""
    return any(match[1] is None for _, _, match in _matches(node, ()))


def _matches(node: Node, path: Path) -> Iterator[tuple[Path, Span, re.Match[str]]]:
    if isinstance(node, Scalar):
        if isinstance(node.value, str) and "${" in node.value:
            yield from ((path, node.span, match) for match in _WORD.finditer(node.value))
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _matches(item, (*path, index))
    else:
        for name, entry in node.entries.items():
            if "${" in name:
                yield from (((*path, name), entry.key, match) for match in _WORD.finditer(name))
            yield from _matches(entry.node, (*path, name))


def apply(node: Node, values: Mapping[str, Node], use: Use | None) -> Node:
    """A copy with every `${name}` replaced; places are marked with the use, so that an error can name both."""
    span = node.span._replace(use=use) if use else node.span
    if isinstance(node, Scalar):
        return _scalar(node, span, values)
    if isinstance(node, Sequence):
        return sequence([apply(item, values, use) for item in node.items], span)
    entries: dict[str, Entry] = {}
    for name, entry in node.entries.items():
        new = key(name, values, place=entry.key)
        if new in entries:
            raise CannotJoin(f"`{new}` would stand here twice", entry.key)
        entries[new] = Entry(entry.key._replace(use=use) if use else entry.key, apply(entry.node, values, use))
    return mapping(entries, span)


def key(name: str, values: Mapping[str, Node], *, place: Span) -> str:
    """A key with every `${name}` replaced."""
    return _joined(name, values, place)


def _scalar(node: Scalar, span: Span, values: Mapping[str, Node]) -> Node:
    if not isinstance(node.value, str) or "${" not in node.value:
        return Scalar(node.value, span, node.tag)
    match = _WORD.fullmatch(node.value)
    if match and match[1] is not None and not node.tag and match[1] in values:
        whole = values[match[1]]  # stands alone: keeps its type
        return whole._replace(span=span)
    return Scalar(_joined(node.value, values, span), span, node.tag)


def _joined(text: str, values: Mapping[str, Node], span: Span) -> str:
    def replaced(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        value = values.get(match[1])
        if not isinstance(value, Scalar) or value.tag:
            raise CannotJoin(f"`${{{match[1]}}}` is not a single plain value, so it cannot be part of a text", span)
        return _text(value.value)

    return _WORD.sub(replaced, text) if "${" in text else text


def _text(value: object) -> str:
    """A value inside a text, as YAML would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
