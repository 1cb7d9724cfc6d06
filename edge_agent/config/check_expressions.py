"""Does every expression parse, and does it name only what exists?"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from edge_agent import plugin
from edge_agent.config.findings import Findings
from edge_agent.config.model import Loop
from edge_agent.config.sections import Sections
from edge_agent.config.tree import Mapping, Node, Path, Scalar, Sequence, find, place
from edge_agent.errors import EdgeAgentError


def check(findings: Findings, name: str, loop: Loop, found: Sections, names: Iterable[str]) -> None:
    """Interlocks, cycles, and whatever the policy compiles."""
    texts = list(_of_loop(name, loop))
    if texts:
        language: Any = importlib.import_module("edge_agent.decide.expressions")  # late: most commands need no language
        kinds = dict.fromkeys(names, language.TAG)
        for at, text in texts:
            try:
                language.compile(text, kinds, want="truth")
            except language.ExpressionError as error:
                _told(findings, at, error)
    _policy(findings, name, loop, found, names)


def _of_loop(name: str, loop: Loop) -> Iterator[tuple[Path, str]]:
    if loop.perceive.cycle is not None:
        yield ("loops", name, "perceive", "cycle", "start"), loop.perceive.cycle.start
        yield ("loops", name, "perceive", "cycle", "stop"), loop.perceive.cycle.stop
    for tag, write in loop.execute.items():
        for index, text in enumerate(write.interlocks):
            yield ("loops", name, "execute", tag, "interlocks", index), text


def _policy(findings: Findings, name: str, loop: Loop, found: Sections, names: Iterable[str]) -> None:
    """The policy compiles its own expressions when it is built, which costs nothing and touches nothing."""
    config = found.policies.get(name)
    if config is None:
        return
    at: Path = ("loops", name, "decide")
    module = plugin.load("policy", loop.decide["policy"])
    try:
        policy = module.Policy(config, name, tuple(names), tuple(loop.execute))
    except (EdgeAgentError, ValueError) as error:
        for each in getattr(error, "errors", None) or [error]:
            _told(findings, _where(findings.root, at, getattr(each, "text", None)), each)
        return
    for tag in sorted(policy.writes - set(loop.execute)):
        findings.error(at, f"the policy may write `{tag}`, but `execute` does not name it", f"add `{tag}:` with its limits under `execute`")


def _where(root: Node, at: Path, text: str | None) -> Path:
    """The expression inside the policy's keys."""
    return next((path for path, scalar in _scalars(find(root, at), at) if text is not None and scalar.value == text), at)


def _scalars(node: Node | None, at: Path) -> Iterator[tuple[Path, Scalar]]:
    if isinstance(node, Scalar):
        yield at, node
    elif isinstance(node, Mapping):
        for key, entry in node.entries.items():
            yield from _scalars(entry.node, (*at, key))
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from _scalars(item, (*at, index))


def _told(findings: Findings, at: Path, error: Exception) -> None:
    """An expression's own words, at its own column where the text stands on one line."""
    text, column = getattr(error, "text", None), getattr(error, "column", 0)
    what, _, cure = str(getattr(error, "what", error)).partition("; ")
    node = find(findings.root, at)
    span = place(findings.root, at)
    if isinstance(node, Scalar) and node.value == text and column and span.length - len(str(text)) in (0, 2):
        quote = (span.length - len(str(text))) // 2
        findings.error_at(span._replace(column=span.column + quote + column - 1, length=1), at, what, cure)
    else:
        findings.error(at, what, cure)
