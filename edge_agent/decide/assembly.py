"""What is wrong with a policy's configuration? Everything at once, each with its path, found while the policy is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edge_agent.decide.expressions import Expression, ExpressionError, compile
from edge_agent.decide.words import Kind, Type, suggest
from edge_agent.errors import EdgeAgentError

Path = tuple[str | int, ...]


class PolicyError(EdgeAgentError, ValueError):
    """A policy's configuration is wrong: (path below `decide:`, what is wrong and how to mend it), in order."""

    exit_code = 78

    def __init__(self, problems: list[tuple[Path, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{'.'.join(map(str, path))}: {what}" for path, what in problems))


class Assembly:
    """Collects what is wrong while a policy puts its parts together; `finish` raises it."""

    def __init__(self, names: Mapping[str, Type], writable: Collection[str]) -> None:
        self._names, self._writable = names, writable
        self._problems: list[tuple[Path, str]] = []

    def expression(self, path: Path, text: str, want: Kind) -> Expression:
        """The compiled text; a stand-in if it is wrong, which `finish` will not let through."""
        try:
            return compile(text, self._names, want=want)
        except ExpressionError as error:
            self.wrong(path, f"column {error.column}: {error.what}")
            return compile("false" if want == "truth" else "0", {})

    def writes(self, path: Path, tag: str) -> None:
        """This tag is going to be written."""
        if tag not in self._writable:
            there = (
                f"; there are {', '.join(sorted(self._writable))}"
                if self._writable
                else "; give it `write: true`, and its limits under `execute`"
            )
            self.wrong(path, f"{tag!r} is not a tag that may be written{suggest(tag, self._writable) or there}")

    def wrong(self, path: Path, what: str) -> None:
        """This is wrong."""
        self._problems.append((path, what))

    def finish(self) -> None:
        """PolicyError if anything was wrong."""
        if self._problems:
            raise PolicyError(self._problems)
