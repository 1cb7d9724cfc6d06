"""What can go wrong, as one tree.

    EdgeAgentError            where, what, what to do
    |-- ConfigError           the YAML is wrong                     exit 78
    |-- ModelRefused          a bundle is not admitted              exit 4
    |-- AgentUnreachable      no control process answers            exit 3
    |-- PlantError            a device refused or did not answer    (a connector's task)
    |-- LedgerError           the ledger cannot be written or read
        `-- LedgerDamaged     what is on disk is not what was written

A refused write is a value (`messages.Outcome`), not an error.
"""

from __future__ import annotations

from dataclasses import dataclass


class EdgeAgentError(Exception):
    """Base of all our errors; the message says where, what, and what to do."""

    exit_code = 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding in a configuration file. Line and column count from 1; 0 where there is none."""

    file: str
    line: int
    column: int
    path: str  # loops.p1.execute.speed.limits
    what: str  # what is wrong, and how to mend it
    cure: str = ""  # how to mend it, where that is said apart
    length: int = 0  # how many characters the place is wide
    use: tuple[int, int] | None = None  # copied from a template: the line of the use, and the number of the copy

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        said = f"{self.what}; {self.cure}" if self.cure else self.what
        said += f" (template used at line {self.use[0]})" if self.use else ""
        return f"{place}: {self.path}: {said}" if self.path else f"{place}: {said}"


class ConfigError(EdgeAgentError):
    """The configuration is wrong; holds every problem found, not only the first."""

    exit_code = 78

    def __init__(self, problems: list[Problem], warnings: tuple[Problem, ...] = ()) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column, problem.path))
        self.warnings = warnings
        super().__init__("\n".join(map(str, self.problems)))


class ModelRefused(EdgeAgentError):
    """A model bundle is not admitted: tampered, malformed, too large, or not what its card says."""

    exit_code = 4


class AgentUnreachable(EdgeAgentError):
    """No control process answers on its socket."""

    exit_code = 3


class PlantError(EdgeAgentError):
    """A device refused, did not answer in time, or is not what the configuration says."""


class LedgerError(EdgeAgentError):
    """The ledger cannot be written or read."""


class LedgerDamaged(LedgerError):
    """What is on disk is not what was written."""
