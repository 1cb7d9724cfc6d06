"""What does a bench say, and how does it look as markdown?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One target, and what was reached."""

    target: str
    reached: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures side by side."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True, kw_only=True)
class Section:
    """Everything that one bench found."""

    title: str
    about: str  # what was run against what
    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Section:
        """From what `dataclasses.asdict` made of it."""
        goals, tables = [Goal(**goal) for goal in told["goals"]], [Table(**table) for table in told["tables"]]
        return cls(title=told["title"], about=told["about"], goals=goals, tables=tables, notes=told["notes"])

    def text(self) -> str:
        """As markdown."""
        parts = [f"## {self.title}", self.about]
        if self.goals:
            rows = [(goal.target, goal.reached, "yes" if goal.met else "**no**") for goal in self.goals]
            parts.append(_table(("target", "reached", "met"), rows))
        parts += [_table(table.columns, table.rows) for table in self.tables]
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts).replace("\n\n- ", "\n- ")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)
