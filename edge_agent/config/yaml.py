"""What does this YAML text say, and where? Strict: no duplicate keys, no surprises, no bombs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from edge_agent.config import scalars
from edge_agent.config.tree import Entry, Mapping, Node, Path, Scalar, Sequence, Span, mapping, problem, sequence
from edge_agent.config.yaml_errors import explained
from edge_agent.errors import Problem

MAX_BYTES = 4 * 1024 * 1024  # two hundred pumps are 100 kB
MAX_NODES = 200_000  # after aliases and templates were put in
MAX_DEPTH = 40
MAX_PROBLEMS = 100

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = ("!secret", "!env")


class Stop(Exception):
    """Nothing more can be read from this file; its problem is already noted."""


def read(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of the one document in `text`, and everything that is wrong with it. None: nothing could be read."""
    problems: list[Problem] = []
    try:
        _refuse(text, file, problems)
        return _Builder(text, file, problems).document(), problems
    except Stop:
        return None, problems
    except yaml.YAMLError as error:
        problems.append(explained(error, text, file))
        return None, problems


def _refuse(text: str, file: str, problems: list[Problem]) -> None:
    """What is not worth parsing."""
    if len(text) > MAX_BYTES:
        problems.append(Problem(file, 0, 0, "", f"more than {MAX_BYTES // 1024**2} MiB: too large for a configuration", "use templates"))
        raise Stop
    if match := _FORBIDDEN.search(text):
        line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
        what = f"a character that YAML does not allow (code {ord(match[0]):#06x})"
        problems.append(Problem(file, line, column, "", what, "save the file as plain UTF-8 text", 1))
        raise Stop


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Span(start.line + 1, start.column + 1, max(length, 1))


class _Builder:
    """Turns libyaml's events into a tree, one at a time, so that a bomb ends where it begins."""

    def __init__(self, text: str, file: str, problems: list[Problem]) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._file, self._problems = file, problems
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        """The only document of the stream."""
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            self._note(Span(0, 0), (), "the file is empty", "`edge-agent init` writes a first configuration")
            return None
        root = self._node(next(self._events), ())
        next(self._events)  # the document's end
        following = next(self._events)
        if isinstance(following, yaml.DocumentStartEvent):
            self._note(_span(following), (), "a second document starts here", "one file holds one configuration; remove the '---'")
        return root

    def _note(self, span: Span, path: Path, what: str, cure: str) -> None:
        self._problems.append(problem(self._file, span, path, what, cure))
        if len(self._problems) >= MAX_PROBLEMS:
            raise Stop

    def _stop(self, span: Span, path: Path, what: str, cure: str) -> Stop:
        self._note(span, path[:MAX_DEPTH], what, cure)
        return Stop()

    def _count(self, nodes: int, span: Span, path: Path) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._stop(span, (), f"more than {MAX_NODES} values once aliases are put in", "split the plant over several agents")
        if len(path) > MAX_DEPTH:
            raise self._stop(span, (), f"nested more than {MAX_DEPTH} deep", "a configuration is at most about ten deep")

    def _node(self, event: Any, path: Path) -> Node:
        span = _span(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, span, path)
        self._count(1, span, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # known, not finished: an alias inside itself never ends
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event, span, path)
        else:
            self._refuse_tag(event.tag, span, path)
            node = self._mapping(span, path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(span, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, anchor: str | None, span: Span, path: Path) -> Node:
        node = self._anchors.get(anchor or "")
        if node is None:
            what = f"*{anchor} stands inside itself" if anchor in self._anchors else f"there is no anchor &{anchor} above"
            self._note(span, path, what, f"name an anchor that is written, and closed, above: '&{anchor}'")
            return Scalar(None, span)
        if len(path) + node.height > MAX_DEPTH:
            raise self._stop(span, (), f"nested more than {MAX_DEPTH} deep through *{anchor}", "write it out")
        self._count(node.size, span, path)
        return node

    def _scalar(self, event: Any, span: Span, path: Path) -> Scalar:
        if event.tag in _TAGS:
            return Scalar(event.value, span, event.tag)
        self._refuse_tag(event.tag, span, path)
        if not event.implicit[0]:  # quoted, or a block of text
            return Scalar(event.value, span)
        try:
            return Scalar(scalars.value(event.value), span)
        except scalars.BadScalar as error:
            self._note(span, path, str(error), error.cure)
            return Scalar(None, span)

    def _refuse_tag(self, tag: str | None, span: Span, path: Path) -> None:
        if tag in _TAGS:
            self._note(span, path, f"{tag} stands before something that is no name", "write a single word after it")
        elif tag is not None:
            self._note(span, path, f"the tag {tag} is not known", "only !secret and !env may stand here, before a name")

    def _sequence(self, span: Span, path: Path) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return sequence(items, span)

    def _mapping(self, span: Span, path: Path) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: list[tuple[Span, Node]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            at = _span(event)
            node = self._node(next(self._events), (*path, key))
            if key == "<<" and event.implicit[0]:
                merged.append((at, node))
            elif key in entries:
                self._note(at, (*path, key), f"`{key}` stands here twice, first in line {entries[key].key.line}", "keep one of them")
            else:
                entries[key] = Entry(at, node)
        for at, node in merged:
            self._merge(entries, node, at, path)
        return mapping(entries, span)

    def _key(self, event: Any, path: Path) -> str:
        """Keys are texts as written: `on` and `1` mean themselves."""
        if not isinstance(event, yaml.ScalarEvent):
            raise self._stop(_span(event), path, "a key must be a single word", "if this is a value in braces or brackets, quote it")
        self._count(1, _span(event), path)
        if event.anchor is not None:
            self._anchors[event.anchor] = Scalar(event.value, _span(event))
        self._refuse_tag(event.tag, _span(event), path)
        return str(event.value)

    def _merge(self, entries: dict[str, Entry], node: Node, at: Span, path: Path) -> None:
        """`<<: *defaults`: keys written out win, then the earlier alias."""
        for source in node.items if isinstance(node, Sequence) else [node]:
            if not isinstance(source, Mapping):
                self._note(at, path, "`<<` takes in keys, and this has none", "name a mapping: '<<: *defaults'")
                return
            for key, entry in source.entries.items():
                entries.setdefault(key, entry)
