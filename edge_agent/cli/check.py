"""edge-agent check: is this configuration right? Never touches the network."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.errors import ConfigError, Problem

if TYPE_CHECKING:
    from edge_agent.config.load import Configuration

_WIDEST = 120  # columns of a source line that are shown
_MOST = 50  # findings of a file that are shown in full


@click.command("check", short_help="Check a configuration; never touches the network")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
@click.option("--effective", is_flag=True, help="Print what the agent would run with; secrets by name only.")
@click.option("--no-secrets", is_flag=True, help="Do not look for secrets and environment variables.")
def command(files: tuple[Path, ...], as_json: bool, effective: bool, no_secrets: bool) -> None:
    """Check configurations: every problem at once, with its place and its cure. Exit 78 if there is one."""
    reports = [_report(file, resolve_secrets=not no_secrets) for file in files]
    if as_json:
        click.echo(
            json.dumps({"ok": all(not problems for _, problems, *_ in reports), "files": [_as_json(*each) for each in reports]}, indent=1)
        )
    else:
        for file, problems, warnings, configuration in reports:
            _print(file, problems, warnings, configuration, effective=effective)
    sys.exit(ConfigError.exit_code if any(problems for _, problems, *_ in reports) else 0)


Report = tuple[Path, list[Problem], tuple[Problem, ...], "Configuration | None"]


def _report(file: Path, *, resolve_secrets: bool) -> Report:
    from edge_agent.config import fit
    from edge_agent.config.load import load

    try:
        configuration = load(file, resolve_secrets=resolve_secrets)
    except ConfigError as error:
        return file, error.problems, error.warnings, None
    return file, fit.problems(configuration), configuration.warnings, configuration


def _as_json(file: Path, problems: list[Problem], warnings: tuple[Problem, ...], configuration: Configuration | None) -> dict[str, Any]:
    return {
        "file": str(file),
        "ok": not problems,
        "problems": [asdict(each) for each in problems],
        "warnings": [asdict(each) for each in warnings],
        "hash": configuration.hash if configuration else None,
        "writes": _writes(configuration) if configuration else [],
    }


def _print(
    file: Path, problems: list[Problem], warnings: tuple[Problem, ...], configuration: Configuration | None, *, effective: bool
) -> None:
    lines = _lines(file) if problems or warnings else []
    _findings(warnings, lines, click.style("warning", fg="yellow", bold=True))
    _findings(problems, lines, click.style("error", fg="red", bold=True))
    if configuration is None or problems:
        click.echo(f"{file}: {_count(len(problems), 'problem')}; nothing was started", err=True)
    elif effective:
        from edge_agent.config.effective import text

        click.echo(text(configuration), nl=False)
    else:
        click.echo(_summary(file, configuration))


def _findings(found: Sequence[Problem], lines: list[str], severity: str) -> None:
    for each in found[:_MOST]:
        click.echo(_shown(each, lines, severity), err=True)
    if len(found) > _MOST:
        click.echo(f"... and {len(found) - _MOST} more; --json shows all", err=True)


def _lines(file: Path) -> list[str]:
    """The file's lines as YAML counts them."""
    try:
        return file.read_text("utf-8-sig", errors="replace").split("\n") if file.stat().st_size < 10_000_000 else []
    except OSError:
        return []


def _shown(found: Problem, lines: list[str], severity: str) -> str:
    """In the manner of ruff: place, path and what; the source line with carets; help."""
    place = f"{found.file}:{found.line}:{found.column}" if found.line else found.file
    said = f"{found.path}: {found.what}" if found.path else found.what
    out = [f"{click.style(place, bold=True)}: {severity}: {said}"]
    if 0 < found.line <= len(lines):
        out += _source(found, lines[found.line - 1])
    if found.use:
        out.append(f"   = note: a template's line, used at line {found.use[0]}")
    if found.cure:
        out.append(f"   = help: {found.cure}")
    return "\n".join(out)


def _source(found: Problem, line: str) -> list[str]:
    """The part of the line around the place."""
    start = max(0, found.column - 1 - _WIDEST // 2) if len(line) > _WIDEST else 0
    shown = line[start : start + _WIDEST].replace("\t", " ").rstrip()
    before = found.column - 1 - start
    carets = "^" * max(1, min(found.length, len(shown) - before))
    margin = " " * len(str(found.line))
    return [f" {found.line} | {shown}", f" {margin} | {' ' * before}{click.style(carets, fg='red', bold=True)}"]


def _summary(file: Path, configuration: Configuration) -> str:
    counts = (_count(len(part), name) for part, name in _parts(configuration))
    writes = _writes(configuration)
    may = f"{_count(len(writes), 'tag')} may be written" if writes else "nothing may be written"
    lines = [f"{file}: ok: {', '.join(counts)}; {may}"]
    lines += [f"  {each['loop']} ({each['mode']}, tier {each['tier']}) may write {each['tag']}: {each['allowed']}" for each in writes]
    return "\n".join(lines)


def _parts(configuration: Configuration) -> list[tuple[Any, str]]:
    file = configuration.file
    return [(file.connectors, "connector"), (file.tags, "tag"), (file.loops, "loop")]


def _writes(configuration: Configuration) -> list[dict[str, Any]]:
    """Which tags which loop could write once armed, and within what."""
    found = []
    for name, loop in configuration.file.loops.items():
        if loop.mode != "armed":
            continue
        for tag, write in loop.execute.items():
            unit = configuration.file.tags[tag].get("unit")
            if write.limits is not None:
                step = f", step {write.step:g}" if write.step is not None else ""
                allowed = f"{write.limits[0]:g} to {write.limits[1]:g}{f' {unit}' if unit else ''}{step}"
            else:
                allowed = "one of " + ", ".join(
                    str(value).lower() if isinstance(value, bool) else str(value) for value in write.values or ()
                )
            found.append({"loop": name, "mode": loop.mode, "tier": loop.tier, "tag": tag, "allowed": allowed})
    return found


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
