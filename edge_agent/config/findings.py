"""Where are an error and a warning noted while the parts are held against each other?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edge_agent.config.suggest import cure
from edge_agent.config.tree import Mapping, Path, Span, place, problem
from edge_agent.errors import Problem


class Findings:
    """Gathers what is wrong and what is only suspicious, each with its place."""

    def __init__(self, root: Mapping, file: str) -> None:
        self.root, self._file = root, file
        self.serious: list[Problem] = []
        self.warnings: list[Problem] = []

    def error(self, at: Path, what: str, mend: str, *, key: bool = False) -> None:
        """The configuration is refused."""
        self.serious.append(problem(self._file, place(self.root, at, key=key), at, what, mend))

    def error_at(self, span: Span, at: Path, what: str, mend: str) -> None:
        """An error at a place inside a value."""
        self.serious.append(problem(self._file, span, at, what, mend))

    def warn(self, at: Path, what: str, mend: str) -> None:
        """It may be meant that way."""
        self.warnings.append(problem(self._file, place(self.root, at), at, what, mend))

    def unknown(self, at: Path, kind: str, name: str, known: Iterable[str], *, key: bool = False) -> None:
        """A name that nothing has."""
        self.error(at, f"there is no {kind} `{name}`", cure(name, known), key=key)

    def tag(self, at: Path, name: str, known: Collection[str], *, key: bool = False) -> bool:
        """Whether the tag exists; an error if not."""
        if name in known:
            return True
        self.unknown(at, "tag", name, known, key=key)
        return False
