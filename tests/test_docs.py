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


def _named(page: Path) -> set[str]:
    """Commands that a page or a message tells people to type: `edge-agent models verify` or a line that begins so."""
    return set(re.findall(r"(?m)(?:^ {4}|`|# +)edge-agent (?!bundle manifest)([a-z]+(?:-[a-z]+)*(?: [a-z]+)?)\b", page.read_text()))


def test_nobody_is_told_to_type_a_command_that_does_not_exist() -> None:
    from click import Context, Group

    from edge_agent.cli import COMMANDS, root

    context = Context(root)
    groups = {name: found for name in COMMANDS if isinstance(found := root.get_command(context, name), Group)}
    pages = [
        ROOT / "README.md",
        *(p for place in ("docs", "configs", "edge_agent", "connectors", "systemd") for p in (ROOT / place).rglob("*.*")),
    ]
    named = {(page.name, words) for page in pages if page.suffix in {".md", ".py", ".yaml", ".service"} for words in _named(page)}
    assert len(named) > 40
    for page, words in sorted(named):
        command, _, rest = words.partition(" ")
        assert command in COMMANDS, f"{page}: edge-agent {words}"
        assert command not in groups or not rest or rest in groups[command].list_commands(context), f"{page}: edge-agent {words}"


def test_nothing_says_where_it_was_made() -> None:
    suffixes = {".py", ".md", ".toml", ".yaml", ".json", ".sh", ".js", ".lock", ".txt", ".service", ".conf"}
    ours = [p for p in ROOT.rglob("*") if p.suffix in suffixes and not set(p.parts) & {"node_modules", ".venv", ".git", ".hypothesis"}]
    assert len(ours) > 100
    word = re.compile("/" + "work/|/" + "tmp/venv|/" + "root/")
    assert [str(p.relative_to(ROOT)) for p in ours if word.search(p.read_text(errors="replace"))] == []


def test_every_test_that_a_page_names_is_there() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"`(tests/[a-z_0-9/.]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page}: {name}"
