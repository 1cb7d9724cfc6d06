"""Does every expression parse, and does it name only what exists?"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterator
from typing import Any

from edge_agent import plugin
from edge_agent.config.findings import Findings
from edge_agent.config.model import Loop
from edge_agent.config.sections import Sections
from edge_agent.config.tree import Path, Scalar, find, place
from edge_agent.errors import EdgeAgentError

_COLUMN = re.compile(r"column ([0-9]+): ")


def check(findings: Findings, name: str, loop: Loop, found: Sections, names: Collection[str]) -> None:
    """Interlocks, cycles, and whatever the policy compiles."""
    texts = list(_of_loop(name, loop))
    if texts:
        language: Any = importlib.import_module("edge_agent.decide.expressions")  # late: most commands need no language
        kinds = importlib.import_module("edge_agent.decide.vocabulary").Vocabulary({}, names)
        for at, text in texts:
            try:
                language.compile(text, kinds, want="truth")
            except language.ExpressionError as error:
                _told(findings, at, f"column {error.column}: {error.what}")
    _policy(findings, name, loop, found, names)


def _of_loop(name: str, loop: Loop) -> Iterator[tuple[Path, str]]:
    if loop.perceive.cycle is not None:
        yield ("loops", name, "perceive", "cycle", "start"), loop.perceive.cycle.start
        yield ("loops", name, "perceive", "cycle", "stop"), loop.perceive.cycle.stop
    for index, stand_in in enumerate(loop.diagnose.fallback):
        if stand_in.rule is not None:
            yield ("loops", name, "diagnose", "fallback", index, "rule"), stand_in.rule
    for tag, write in loop.execute.items():
        for index, text in enumerate(write.interlocks):
            yield ("loops", name, "execute", tag, "interlocks", index), text


def _policy(findings: Findings, name: str, loop: Loop, found: Sections, names: Collection[str]) -> None:
    """The policy finds what is wrong with its own keys when it is built, which costs nothing and touches nothing."""
    config = found.policies.get(name)
    if config is None:
        return
    at: Path = ("loops", name, "decide")
    module = plugin.load("policy", loop.decide["policy"])
    try:
        module.Policy(config, loop=name, tags=names, writable=tuple(loop.execute))
    except (EdgeAgentError, ValueError) as error:
        for path, what in getattr(error, "problems", [((), str(error))]):
            _told(findings, (*at, *path), what)


def _told(findings: Findings, at: Path, said: str) -> None:
    """In the language's own words; at the column inside the text, where the text stands on one line."""
    column = int(match[1]) if (match := _COLUMN.match(said)) else 0
    what, _, cure = said[match.end() if match else 0 :].partition("; ")
    about_key = bool(at) and f"'{at[-1]}'" in what  # a name that is wrong, not what stands behind it
    node, span = find(findings.root, at), place(findings.root, at, key=about_key)
    quotes = span.length - len(str(node.value)) if isinstance(node, Scalar) else -1
    if column and quotes in (0, 2):
        span = span._replace(column=span.column + quotes // 2 + column - 1, length=1)
    findings.error_at(span, at, what, cure)
