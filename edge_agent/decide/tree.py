"""What does an expression's text say, and do its kinds fit together? Text to typed tree; every refusal has a column."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_agent.decide.lexing import tokens
from edge_agent.decide.words import ExpressionError, Kind, Type, Value, suggest

MAX_DEPTH = 32
MAX_DIGITS = 40

Op = Literal["constant", "load", "call", "arithmetic", "negative", "compare", "member", "and", "or", "not", "choose"]


@dataclass(frozen=True, slots=True)
class Node:
    """One step of an expression. `what` is the constant, the name, the function or the sign."""

    op: Op
    kind: Kind
    what: Value
    parts: tuple[Node, ...] = ()
    choices: tuple[str, ...] = ()  # all texts that it can be, where that is known


# function -> (how it is written, what it gives): what stands in docs/config.md and in error messages
FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "abs": ("abs(x)", "x without its sign"),
    "min": ("min(x, y, ...)", "the smallest; unknown if one is unknown"),
    "max": ("max(x, y, ...)", "the largest; unknown if one is unknown"),
    "between": ("between(x, low, high)", "low <= x <= high"),
    "known": ("known(x)", "whether x has a value at all; never unknown itself"),
    "good": ("good(tag)", "whether the tag's value is evidence; never unknown itself"),
    "bad": ("bad(tag)", "not good(tag)"),
    "age": ("age(tag)", "seconds since its value came"),
    "quality": ("quality(tag)", "'good', 'uncertain' or 'bad'"),
    "contribution": ("contribution(tag)", "the tag's share of the blame for the diagnosis, 0 to 1"),
    "probability": ('probability("label")', "the model's probability of a label, 0 to 1"),
}
_OF_TAG: Mapping[str, Kind] = {"good": "truth", "bad": "truth", "age": "number", "quality": "text", "contribution": "number"}
_QUALITIES = ("good", "uncertain", "bad")
_CONSTANTS: Mapping[str, bool] = {"true": True, "false": False}

_ARITHMETIC: Mapping[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
_COMPARISONS: Mapping[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_CALLED: Mapping[Kind, str] = {"number": "a number", "text": "a text", "truth": "true or false", "any": "a tag's value"}


class Reader:
    """Reads one text. `used` collects the names it speaks of."""

    def __init__(self, text: str, names: Mapping[str, Type]) -> None:
        self.text, self.names = text, names
        self.used: set[str] = set()

    def read(self, want: Kind) -> Node:
        """The whole text as one tree of the wanted kind."""
        tokens(self.text)
        # Line breaks (folded YAML) become blanks; the bracket lets the text start with a blank. Columns stay right: +1 -1.
        line = "(" + "".join(" " if c.isspace() else c for c in self.text) + ")"
        try:
            root = ast.parse(line, mode="eval").body
        except (SyntaxError, MemoryError, RecursionError) as error:  # the last two: too deep for the parser
            column = (getattr(error, "offset", None) or 0) - 1
            raise self._error(column, "an operator, a value or a bracket is missing or too many") from None
        node = self._read(root, 0)
        return node if want == "any" else self._as(node, want, root)

    # ------------------------------------------------------------ one form each

    def _read(self, at: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(at, f"nested more than {MAX_DEPTH} deep")
        read = self._FORMS.get(type(at))
        if read is None:
            raise self._error(
                at, "this form is not allowed; there are names, numbers, texts, comparisons, and, or, not, + - * / % and functions"
            )
        return read(self, at, depth + 1)

    def _constant(self, at: ast.Constant, depth: int) -> Node:
        if isinstance(at.value, str):
            return Node("constant", "text", at.value)
        if at.value is None:
            raise self._error(at, "there is no None; ask known(x)")
        if isinstance(at.value, bool):
            return Node("constant", "truth", at.value)
        value = float(str(at.value)[:MAX_DIGITS]) if isinstance(at.value, int | float) else 0.0
        if len(str(at.value)) >= MAX_DIGITS or value - value != 0.0:
            raise self._error(at, "this number is too large")
        return Node("constant", "number", value)

    def _name(self, at: ast.Name, depth: int) -> Node:
        if at.id in _CONSTANTS and at.id not in self.names:
            return Node("constant", "truth", _CONSTANTS[at.id])
        type_ = self._lookup(at)
        return Node("load", type_.kind, at.id, choices=type_.choices)

    def _lookup(self, at: ast.Name) -> Type:
        type_ = self.names.get(at.id)
        if type_ is None:
            call = f"; {FUNCTIONS[at.id][0]} is a function" if at.id in FUNCTIONS else suggest(at.id, [*self.names, *FUNCTIONS])
            raise self._error(at, f"{at.id!r} is not known{call}")
        if type_.clash:
            raise self._error(at, type_.clash)
        self.used.add(at.id)
        return type_

    def _unary(self, at: ast.UnaryOp, depth: int) -> Node:
        inner = self._read(at.operand, depth)
        if isinstance(at.op, ast.Not):
            return Node("not", "truth", "not", (self._as(inner, "truth", at.operand),))
        number = self._as(inner, "number", at.operand)
        return Node("negative", "number", "-", (number,)) if isinstance(at.op, ast.USub) else number

    def _binary(self, at: ast.BinOp, depth: int) -> Node:
        sign = _ARITHMETIC[type(at.op)]  # the lexer lets no other sign through
        return Node("arithmetic", "number", sign, (self._number(at.left, depth), self._number(at.right, depth)))

    def _logic(self, at: ast.BoolOp, depth: int) -> Node:
        parts = tuple(self._as(self._read(v, depth), "truth", v) for v in at.values)
        return Node("and" if isinstance(at.op, ast.And) else "or", "truth", "", parts)

    def _choose(self, at: ast.IfExp, depth: int) -> Node:
        condition = self._as(self._read(at.test, depth), "truth", at.test)
        one, other = self._read(at.body, depth), self._read(at.orelse, depth)
        kind = other.kind if one.kind == "any" else one.kind
        parts = (condition, self._as(one, kind, at.body), self._as(other, kind, at.orelse))
        return Node("choose", kind, "if", parts, (*one.choices, *other.choices) if one.choices and other.choices else ())

    def _compare(self, at: ast.Compare, depth: int) -> Node:
        sides = [at.left, *at.comparators]
        links: list[Node] = []
        for left, sign, right in zip(sides, at.ops, sides[1:], strict=False):
            read = self._member if isinstance(sign, ast.In | ast.NotIn) else self._pair
            links.append(read(left, sign, right, depth))
        return links[0] if len(links) == 1 else Node("and", "truth", "", tuple(links))

    def _pair(self, left: ast.expr, sign: ast.cmpop, right: ast.expr, depth: int) -> Node:
        one, other = self._read(left, depth), self._read(right, depth)
        written = _COMPARISONS[type(sign)]  # the lexer lets no `is` through
        kind = other.kind if one.kind == "any" else one.kind
        if written not in ("==", "!="):
            if "text" in (one.kind, other.kind) or "truth" in (one.kind, other.kind):
                raise self._error(left, f"{written!r} compares numbers; texts, true and false only know == and !=")
            kind = "number"
        one, other = self._as(one, kind, left), self._as(other, kind, right)
        self._refuse_strange(one, other, left)
        self._refuse_strange(other, one, right)
        return Node("compare", "truth", written, (one, other))

    def _member(self, left: ast.expr, sign: ast.cmpop, right: ast.expr, depth: int) -> Node:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
            raise self._error(right, 'after "in" comes a list of constants, like ("a", "b")')
        items = [self._read(item, depth) for item in right.elts]
        for item, at in zip(items, right.elts, strict=True):
            if item.op != "constant" and not (item.op == "negative" and item.parts[0].op == "constant"):
                raise self._error(at, 'after "in" only constants are allowed')
            if item.kind != items[0].kind:
                raise self._error(at, f"a list of one kind is needed: {_CALLED[items[0].kind]}, not {_CALLED[item.kind]}")
        one = self._as(self._read(left, depth), items[0].kind, left)
        for item, at in zip(items, right.elts, strict=True):
            self._refuse_strange(item, one, at)
        found = Node("member", "truth", "in", (one, *items))
        return Node("not", "truth", "not", (found,)) if isinstance(sign, ast.NotIn) else found

    def _call(self, at: ast.Call, depth: int) -> Node:
        if not isinstance(at.func, ast.Name) or at.func.id not in FUNCTIONS:
            name = at.func.id if isinstance(at.func, ast.Name) else "this"
            raise self._error(at, f"{name!r} is not a function; there are {', '.join(FUNCTIONS)}{suggest(name, FUNCTIONS)}")
        name, given = at.func.id, at.args
        needed = {"between": (3, 3), "min": (2, 99), "max": (2, 99)}.get(name, (1, 1))
        if at.keywords or not needed[0] <= len(given) <= needed[1] or any(isinstance(a, ast.Starred) for a in given):
            raise self._error(at, f"write it as {FUNCTIONS[name][0]}")
        if name in _OF_TAG:
            return self._of_tag(name, given[0])
        if name == "probability":
            return self._probability(given[0])
        if name == "known":
            return Node("call", "truth", name, (self._read(given[0], depth),))
        return Node("call", "truth" if name == "between" else "number", name, tuple(self._number(a, depth) for a in given))

    def _of_tag(self, name: str, at: ast.expr) -> Node:
        if not isinstance(at, ast.Name) or not self._lookup(at).tag:
            raise self._error(at, f"{FUNCTIONS[name][0]} needs the name of a tag")
        return Node("call", _OF_TAG[name], name, (Node("constant", "text", at.id),), _QUALITIES if name == "quality" else ())

    def _probability(self, at: ast.expr) -> Node:
        label = self._read(at, 0)
        if label.op != "constant" or label.kind != "text":
            raise self._error(at, f"write it as {FUNCTIONS['probability'][0]}")
        labels = self.names.get("label")
        self._refuse_strange(label, Node("load", "text", "label", choices=labels.choices if labels else ()), at)
        return Node("call", "number", "probability", (label,))

    # ------------------------------------------------------------ kinds

    def _number(self, at: ast.expr, depth: int) -> Node:
        return self._as(self._read(at, depth), "number", at)

    def _as(self, node: Node, kind: Kind, at: ast.expr) -> Node:
        """The node as this kind. A tag's value is taken as what is needed, and is unknown at run time if it is not that."""
        if node.kind == kind:
            return node
        if node.kind != "any":
            cure = "; compare it, like score > 0.8" if kind == "truth" and node.kind == "number" else ""
            raise self._error(at, f"{_CALLED[kind]} is needed here, this is {_CALLED[node.kind]}{cure}")
        if node.op == "choose":
            condition, one, other = node.parts
            return Node("choose", kind, node.what, (condition, self._as(one, kind, at), self._as(other, kind, at)))
        return Node(node.op, kind, node.what, node.parts)

    def _refuse_strange(self, constant: Node, other: Node, at: ast.expr) -> None:
        """A text that the other side can never be is a typing error, not a condition that is never true."""
        if constant.op == "constant" and other.choices and constant.what not in other.choices:
            known = ", ".join(map(repr, other.choices))
            raise self._error(at, f"{constant.what!r} never occurs here; there are {known}{suggest(str(constant.what), other.choices)}")

    def _error(self, at: ast.expr | int, what: str) -> ExpressionError:
        if isinstance(at, int):
            return ExpressionError(self.text, min(max(at, 1), len(self.text)), what)
        line = "(" + self.text
        return ExpressionError(self.text, max(1, len(line.encode()[: at.col_offset].decode(errors="replace"))), what)

    _FORMS: Mapping[type[ast.expr], Callable[..., Node]] = {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.UnaryOp: _unary,
        ast.BinOp: _binary,
        ast.BoolOp: _logic,
        ast.IfExp: _choose,
        ast.Compare: _compare,
        ast.Call: _call,
    }
