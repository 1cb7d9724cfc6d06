"""Which kinds of value does an expression know, and how does it say that it is wrong?"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["number", "text", "truth", "any"]
Value = float | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """What a name stands for. A tag's kind is "any": only the plant knows; `choices` are all texts that it can be."""

    kind: Kind
    tag: bool = False
    choices: tuple[str, ...] = ()
    clash: str = ""  # why the name must not be used, where it means two things


NUMBER = Type(kind="number")
TEXT = Type(kind="text")
TRUTH = Type(kind="truth")
TAG = Type(kind="any", tag=True)


class ExpressionError(EdgeAgentError, ValueError):
    """An expression is wrong. Columns count from 1."""

    exit_code = 78

    def __init__(self, text: str, column: int, what: str) -> None:
        self.text, self.column, self.what = text, column, what
        super().__init__(f"{text!r}, column {column}: {what}")


def suggest(word: str, known: Iterable[str]) -> str:
    """' did you mean ...?' or nothing."""
    by_case = {k.casefold(): k for k in known}
    near = get_close_matches(word.casefold(), by_case, n=1, cutoff=0.6)
    return f"; did you mean {by_case[near[0]]!r}?" if near else ""
