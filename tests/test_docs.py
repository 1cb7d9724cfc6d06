"""What the pages say is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_file_that_flow_names_exists_and_holds_the_function() -> None:
    text = (ROOT / "docs/flow.md").read_text()
    named = re.findall(r"`((?:edge_agent/)?[a-z_/]+\.py)(?::([A-Za-z_.]+))?`", text)
    assert len(named) > 25
    for file, function in named:
        path = next((p for p in (ROOT / file, ROOT / "edge_agent" / file) if p.is_file()), None)
        if path is None and "/" not in file:
            path = next(iter((ROOT / "edge_agent").rglob(file)), None)
        assert path is not None, file
        for part in function.split(".") if function else ():
            assert re.search(rf"(def|class) {part}\b", path.read_text()), f"{file}:{function}"


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_only_commands_that_exist() -> None:
    from edge_agent.cli import COMMANDS

    for command in re.findall(r"(?m)(?:^    |`)edge-agent ([a-z]+)", (ROOT / "README.md").read_text()):
        assert command in COMMANDS, command


def test_nothing_says_where_it_was_made() -> None:
    suffixes = {".py", ".md", ".toml", ".yaml", ".json", ".sh", ".js", ".lock", ".txt", ".service", ".conf"}
    ours = [p for p in ROOT.rglob("*") if p.suffix in suffixes and not set(p.parts) & {"node_modules", ".venv", ".git", ".hypothesis"}]
    assert len(ours) > 100
    word = re.compile("/" + "work/|/" + "tmp/venv|/" + "root/")
    assert [str(p.relative_to(ROOT)) for p in ours if word.search(p.read_text(errors="replace"))] == []
