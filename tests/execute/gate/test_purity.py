"""The gate stands alone: standard library only, and nothing that reads a clock, a file or a socket."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from edge_agent.execute import gate

ALLOWED = {"__future__", "collections.abc", "dataclasses", "math", "typing"}
FILES = sorted(Path(next(iter(gate.__path__))).glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_the_gate_imports_nothing_but_itself_and_plain_modules(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name in ALLOWED or name.startswith("edge_agent.execute.gate."), f"{file.name} imports {name}"
