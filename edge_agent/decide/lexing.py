"""Is a text short, shallow and plain enough to be an expression? Says in a technician's words what is not."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, NamedTuple

from edge_agent.decide.words import ExpressionError

MAX_LENGTH = 1000
MAX_BRACKETS = 24

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<text>"[^"\\\r\n]*"|'[^'\\\r\n]*')
      | (?P<sign><=|>=|==|!=|[-+*/%<>(),{}\[\]])""",
    re.VERBOSE,
)
_HINTS = (  # longest first
    ("&&", "write 'and'"),
    ("||", "write 'or'"),
    ("<>", "write '!='"),
    ("<<", "one '<' is enough"),
    (">>", "one '>' is enough"),
    ("=", "write '==' to compare"),
    ("&", "write 'and'"),
    ("|", "write 'or'"),
    ("!", "write 'not'"),
    ("≥", "write '>='"),
    ("≤", "write '<='"),
    ("≠", "write '!='"),
    ("**", "powers are not allowed; multiply"),
    ("//", "write '/'"),
    (".", "names have no parts, and numbers start with a digit"),
    ("\\", "texts hold no backslash"),
    ('"', "the text has no end, or holds a backslash"),
    ("'", "the text has no end, or holds a backslash"),
)
_KEYWORDS = frozenset({"and", "or", "not", "in", "if", "else"})
_SHOUTED = {word.upper(): word for word in _KEYWORDS} | {"AND": "and", "OR": "or", "NOT": "not"}
_DOUBLED = frozenset({"**", "//", "<>", "<<", ">>"})  # every operator that Python would read from two of our signs
_PAIRS = {")": "(", "]": "[", "}": "{"}

TokenKind = Literal["number", "name", "text", "sign"]


class Token(NamedTuple):
    """A piece of the text; `at` counts from 0."""

    kind: TokenKind
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """The pieces of a text. ExpressionError if it is too long, nested too deeply, or holds what no expression holds."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text[:40] + "...", MAX_LENGTH, f"{len(text)} characters are too many; {MAX_LENGTH} are allowed")
    found = _split(text)
    if not found:
        raise ExpressionError(text, 1, "the expression is empty")
    _refuse_unbalanced(text, found)
    for before, token in pairwise(found):
        _refuse_neighbours(text, before, token)
    return found


def _split(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        hint = next((cure for sign, cure in _HINTS if text.startswith(sign, at)), None)
        match = _TOKEN.match(text, at)
        if match is None or (match.lastgroup == "sign" and match[0] + text[match.end() : match.end() + 1] in _DOUBLED):
            raise ExpressionError(text, at + 1, f"{text[at]!r} is not understood" + (f"; {hint}" if hint else ""))
        if match.lastgroup != "space":
            kind: TokenKind = match.lastgroup  # type: ignore[assignment]  # the group's name
            found.append(Token(kind, match[0], at))
        at = match.end()
    return found


def _refuse_unbalanced(text: str, found: list[Token]) -> None:
    opened: list[Token] = []
    for token in found:
        if token.text in ("(", "[", "{"):
            opened.append(token)
            if len(opened) > MAX_BRACKETS:
                raise ExpressionError(text, token.at + 1, f"more than {MAX_BRACKETS} brackets inside one another")
        elif token.text in _PAIRS and (not opened or opened.pop().text != _PAIRS[token.text]):
            raise ExpressionError(text, token.at + 1, f"this {token.text!r} closes nothing")
    if opened:
        raise ExpressionError(text, opened[-1].at + 1, f"this {opened[-1].text!r} is never closed")


def _refuse_neighbours(text: str, before: Token, token: Token) -> None:
    if token.text in _SHOUTED:
        raise ExpressionError(text, token.at + 1, f"write {_SHOUTED[token.text]!r} in small letters")
    if token.text == "is":
        raise ExpressionError(text, token.at + 1, "write '==' to compare")
    if not (_is_operand(before) or before.text in _PAIRS) or not _is_operand(token):
        return
    if before.kind == "number" and token.kind == "name":
        cure = "numbers carry no unit here: tags are in their own unit, times in seconds"
        raise ExpressionError(text, token.at + 1, f"{token.text!r} after a number; {cure}")
    raise ExpressionError(text, token.at + 1, f"an operator or a comma is missing before {token.text!r}")


def _is_operand(token: Token) -> bool:
    return token.kind in ("number", "text") or (token.kind == "name" and token.text not in _KEYWORDS)
