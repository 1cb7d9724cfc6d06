"""How does a typed tree become a function? Straight-line Python, one line a node; no text of the user's but quoted constants.

Every line gives a value or None (unknown). All operands of a line are checked before it is evaluated, so that no comparison
ever sees a NaN, and no line can raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.decide import evidence
from edge_agent.decide.tree import Node, Op
from edge_agent.decide.words import Value

Run = Callable[[Callable[[str], Any]], Value | None]

_KNOWN: Mapping[str, Any] = {
    "__builtins__": {},
    "abs": abs,
    "min": min,
    "max": max,
    **{name: getattr(evidence, name) for name in ("plain", "number", "text", "truth", "same", "good", "age", "quality", "share")},
}
_LOADERS = {"number": "number", "text": "text", "truth": "truth", "any": "plain"}


def function(root: Node) -> Run:
    """A function of `values.get`."""
    lines: list[str] = []
    result = _emit(root, lines, {})
    source = "\n ".join(["def run(get):", *lines, f"return {result}"])
    space = dict(_KNOWN)
    exec(compile(source, "<expression>", "exec"), space)  # noqa: S102  our own lines: names by repr, signs from a table
    run: Run = space["run"]
    return run


def _emit(node: Node, lines: list[str], done: dict[Node, str]) -> str:
    """Write the node's lines; the local name (or literal) that holds its value."""
    if node.op == "constant" and node.kind != "truth":
        return repr(node.what)
    if node in done:
        return done[node]
    parts = [_emit(part, lines, done) for part in node.parts]
    name = f"v{len(done)}"
    lines.append(f"{name} = {_LINES[node.op](node, parts)}")
    if node.op == "arithmetic":
        lines.append(f"if {name} is not None and {name} - {name} != 0.0: {name} = None")  # it overflowed
    done[node] = name
    return name


def _load(node: Node, parts: list[str]) -> str:
    return f"{_LOADERS[node.kind]}(get({node.what!r}))"


def _arithmetic(node: Node, parts: list[str]) -> str:
    line = _if_known(parts, f"{parts[0]} {node.what} {parts[1]}")
    return f"None if {parts[1]} == 0.0 else {line}" if node.what in ("/", "%") else line


def _compare(node: Node, parts: list[str]) -> str:
    if node.parts[0].kind == "any":
        equal = f"same({parts[0]}, {parts[1]})"
        return equal if node.what == "==" else f"{{True: False, False: True, None: None}}[{equal}]"
    return _if_known(parts, f"{parts[0]} {node.what} {parts[1]}")


def _member(node: Node, parts: list[str]) -> str:
    return _if_known(parts, f"{parts[0]} in ({', '.join(parts[1:])},)")


def _choose(node: Node, parts: list[str]) -> str:
    return f"None if {parts[0]} is None else {parts[1]} if {parts[0]} else {parts[2]}"


def _call(node: Node, parts: list[str]) -> str:
    first, name = parts[0], node.what
    match name:
        case "known":
            return f"{first} is not None" if _is_local(first) else "True"
        case "good" | "age" | "quality":
            return f"{name}(get({first}))"
        case "bad":
            return f"not good(get({first}))"
        case "contribution" | "probability":
            table = "contributions" if name == "contribution" else "probabilities"
            return f"share(get({table!r}), {first})"
        case "between":
            return _if_known(parts, f"{parts[1]} <= {first} <= {parts[2]}")
    return _if_known(parts, f"{name}({', '.join(parts)})")


def _if_known(parts: list[str], then: str) -> str:
    unknown = " or ".join(f"{p} is None" for p in parts if _is_local(p))
    return f"None if {unknown} else {then}" if unknown else then


def _kleene(parts: list[str], decides: str, otherwise: str) -> str:
    decided = " or ".join(f"{p} is {decides}" for p in parts)
    unknown = " or ".join(f"{p} is None" for p in parts)
    return f"{decides} if {decided} else None if {unknown} else {otherwise}"


def _is_local(part: str) -> bool:
    """A local may be None; numbers start with a digit, texts with a quote."""
    return part.startswith("v")


_LINES: Mapping[Op, Callable[[Node, list[str]], str]] = {
    "constant": lambda node, parts: repr(node.what),  # a truth; in a local, because `True is None` makes Python warn
    "load": _load,
    "call": _call,
    "arithmetic": _arithmetic,
    "negative": lambda node, parts: _if_known(parts, f"-{parts[0]}"),
    "compare": _compare,
    "member": _member,
    "and": lambda node, parts: _kleene(parts, "False", "True"),
    "or": lambda node, parts: _kleene(parts, "True", "False"),
    "not": lambda node, parts: _if_known(parts, f"not {parts[0]}"),
    "choose": _choose,
}
