"""Do the parts fit together? What one model cannot see: names that must exist, tags with two masters, limits that fit."""

from __future__ import annotations

from pathlib import Path

from edge_agent.config.sections import Sections
from edge_agent.config.tree import Mapping
from edge_agent.errors import Problem


def check(found: Sections, *, root: Mapping, file: str, folder: Path | None) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings."""
    return [], []
