"""ledger: look into the ledger and verify it."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.output import json_option
from edge_agent.errors import LedgerError

if TYPE_CHECKING:
    from edge_agent.feedback.verify import Progress, Report
    from edge_agent.messages import Record

_path = click.argument("path", metavar="FILE_OR_CONFIG", type=click.Path(exists=True, path_type=Path))


@click.group()
def command() -> None:
    """Look into the ledger and verify it. FILE_OR_CONFIG: the agent's YAML, a ledger folder or a ledger file."""


@command.command()
@_path
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Recompute every hash, check that no record is missing, and hash every blob. Exit code 1 if anything is found."""
    from edge_agent.feedback.verify import verify as walk

    with _bar(not as_json and sys.stderr.isatty()) as progress:
        report = walk(place(path), progress)
    click.echo(json.dumps({"ok": report.ok, **asdict(report)}, indent=2) if as_json else _verdict(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


@command.command()
@_path
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many records.")
@click.option("--kind", help="Only this kind: window, decision, intent, outcome, label, gap, mode ...")
@click.option("--loop", help="Only this loop.")
@json_option
def tail(path: Path, lines: int, kind: str | None, loop: str | None, as_json: bool) -> None:
    """Print the newest records, oldest first."""
    from edge_agent.feedback.reader import Reader

    with Reader(place(path)) as reader:
        for record in reversed(reader.newest(lines, kind, loop)):
            click.echo(json.dumps(asdict(record)) if as_json else line(record))


@command.command()
@_path
@click.argument("seq", type=click.IntRange(1))
def show(path: Path, seq: int) -> None:
    """Print one record whole, as JSON."""
    from edge_agent.feedback.reader import Reader

    with Reader(place(path)) as reader:
        record = reader.record(seq)
    if record is None:
        raise LedgerError(f"{path}: there is no record {seq}; `edge-agent ledger tail` shows the newest")
    click.echo(json.dumps(asdict(record), indent=2))


def place(path: Path) -> Path:
    """The ledger that a path on the command line means."""
    if path.is_dir() or path.suffix not in {".yaml", ".yml"}:
        return path
    from edge_agent import places
    from edge_agent.config.load import agent

    return places.ledger(agent(path))


def when(wall_ns: int) -> str:
    """Local time with its zone, for people."""
    return datetime.fromtimestamp(wall_ns / 1e9).astimezone().isoformat(" ", "milliseconds")


def line(record: Record) -> str:
    """One record in one line."""
    text = json.dumps(record.payload, ensure_ascii=False)
    short = text if len(text) < 160 else text[:157] + "..."
    return f"{record.seq:>8}  {when(record.wall_ns)}  {record.kind:<9} {record.loop or '-':<16} {short}"


def _bar(watched: bool) -> Any:
    return _Bar() if watched else nullcontext(None)


class _Bar:
    """A progress bar on stderr while a person watches."""

    def __enter__(self) -> Progress:
        from rich.console import Console
        from rich.progress import Progress as Rich

        self._rich = Rich(console=Console(stderr=True), transient=True)
        self._rich.start()
        task = self._rich.add_task("verifying")
        return lambda done, total: self._rich.update(task, completed=done, total=total)

    def __exit__(self, *error: object) -> None:
        self._rich.stop()


def _verdict(report: Report) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
    lines = [
        report.file,
        f"  {report.records} records, seq {report.first} to {report.last}, {len(report.epochs)} epochs, {report.blobs} blobs",
        f"  {kinds}",
    ]
    if report.dropped_payloads or report.removed_records:
        lines.append(f"  retention dropped {report.dropped_payloads} payloads and removed {report.removed_records} records; vouched for")
    if report.ok:
        return "\n".join([*lines, "  ok: the chain is whole"])
    lines += [f"  FOUND {what}" for what in report.findings]
    return "\n".join([*lines, f"  and {report.more_findings} more" if report.more_findings else f"  {len(report.findings)} findings"])
