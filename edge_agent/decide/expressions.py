"""What does an expression of a technician's YAML say now? Typed, bounded, three-valued: true, false, or unknown (None).

A small subset of Python's expressions (docs/decisions/0004-expressions.md). A missing, non-finite or unfit operand makes a
comparison unknown before it is evaluated; and, or, not follow Kleene: false and unknown is false, true or unknown is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.decide import compiling, evidence, explaining
from edge_agent.decide.tree import FUNCTIONS, Reader
from edge_agent.decide.words import NUMBER, TAG, TEXT, TRUTH, ExpressionError, Kind, Type, Value

__all__ = ["FUNCTIONS", "NUMBER", "TAG", "TEXT", "TRUTH", "Expression", "ExpressionError", "Kind", "Type", "Value", "compile"]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled text. `values` are tags (messages.Reading or scalars) and the other names; evaluation never raises."""

    text: str
    kind: Kind
    names: frozenset[str]
    _run: compiling.Run = field(repr=False, compare=False)
    _pieces: tuple[explaining.Piece, ...] = field(repr=False, compare=False)

    def evaluate(self, values: Mapping[str, Any]) -> Value | None:
        """Its value, None where it is unknown."""
        return self._run(values.get)

    def truth(self, values: Mapping[str, Any]) -> bool | None:
        """Whether it holds, None where that is unknown."""
        return evidence.truth(self._run(values.get))

    def number(self, values: Mapping[str, Any]) -> float | None:
        """Its value as a number, None where that is unknown."""
        return evidence.number(self._run(values.get))

    def explain(self, values: Mapping[str, Any]) -> str:
        """Its text with the numbers behind the names: 'score 0.91 > 0.8'."""
        return explaining.explain(self.text, self._pieces, values)


def compile(text: str, names: Mapping[str, Type], *, want: Kind = "any") -> Expression:
    """Read, type and compile once. `want` is the kind that is needed: a condition is "truth". ExpressionError."""
    reader = Reader(text, names)
    root = reader.read(want)
    used = frozenset(reader.used)
    return Expression(text=text, kind=root.kind, names=used, _run=compiling.function(root), _pieces=explaining.pieces(text, used))
