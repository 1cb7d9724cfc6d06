"""pool: pull many agents into one pool."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.output import json_option
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.pool.client import Client
    from edge_agent.pool.pull import Progress, Pulled

_folder = click.Path(file_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Pull many agents into one pool, on the data team's machines."""


@command.command()
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--into", required=True, type=_folder, help="Folder of the pool.")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with the token; else EDGE_AGENT_TOKEN."
)
@click.option("--consumer", default="pool", show_default=True, help="Name under which the agents remember how far we are.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust for https.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False), help="Our client certificate (PEM).")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Its private key (PEM).")
@json_option
def pull(
    urls: tuple[str, ...],
    into: Path,
    token_file: Path | None,
    consumer: str,
    ca: str | None,
    certificate: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Fetch what is new from each URL. Safe to kill and to run again: each record arrives once."""
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together")
    pair = (certificate, key) if certificate and key else None
    token = _token(token_file, needed=pair is None)
    from edge_agent.pool.client import Client

    into.mkdir(parents=True, exist_ok=True)
    done: list[Pulled] = []
    failed: dict[str, EdgeAgentError] = {}
    with _bar(not as_json and sys.stderr.isatty()) as progress:
        for url in urls:
            try:
                done.append(_one(url, partial(Client, token=token, ca=ca, pair=pair), into, consumer, progress))
            except EdgeAgentError as e:
                failed[url] = e
    _show(done, failed, as_json)
    if failed:
        raise click.exceptions.Exit(max(error.exit_code for error in failed.values()))


@command.command()
@click.argument("into", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def report(into: Path, as_json: bool) -> None:
    """What is in the pool: records, labels, holes."""
    from edge_agent.pool.report import report as counted

    found = counted(into)
    click.echo(
        json.dumps(found, indent=2) if as_json else "\n".join(_agent(name, agent) for name, agent in found.items()) or "the pool is empty"
    )


def _one(url: str, connect: Callable[[str], Client], into: Path, consumer: str, progress: Progress) -> Pulled:
    from edge_agent.pool.pull import pull as run

    with connect(url) as client:
        return run(client, into, consumer=consumer, progress=progress)


def _token(file: Path | None, *, needed: bool) -> str:
    token = file.read_text().strip() if file else os.environ.get("EDGE_AGENT_TOKEN", "")
    if needed and not token:
        raise click.UsageError("no token; name a file with --token-file, or set EDGE_AGENT_TOKEN")
    return token


def _show(done: list[Pulled], failed: dict[str, EdgeAgentError], as_json: bool) -> None:
    if as_json:
        told = {"pulled": [asdict(one) for one in done], "failed": {url: str(error) for url, error in failed.items()}}
        click.echo(json.dumps(told, indent=2))
        return
    for one in done:
        lost = f", {one.missing_blobs} blobs were gone" if one.missing_blobs else ""
        click.echo(f"{one.agent}: {one.records} new records, {one.blobs} blobs{lost}; {one.in_pool} in the pool ({one.url})")
    for error in failed.values():
        click.echo(str(error), err=True)


def _agent(name: str, agent: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in agent["kinds"].items())
    lines = [f"{name}: {agent['records']} records in {agent['files']} files ({kinds})"]
    lines += [f"  label {value}: {count}" for value, count in agent["labels"].items()]
    holes = agent["holes"]
    if holes["count"]:
        lines.append(f"  {holes['records']} records in {holes['count']} holes: hidden from our token, or removed by retention")
    return "\n".join([*lines, f"  {agent['missing_blobs']} blobs were gone before we came"] if agent["missing_blobs"] else lines)


def _bar(watched: bool) -> Any:
    return _Bar() if watched else nullcontext(lambda agent, step, records: None)


class _Bar:
    """A line of progress on stderr while a person watches."""

    def __enter__(self) -> Progress:
        from rich.console import Console

        self._status = Console(stderr=True).status("pulling")
        self._status.start()
        return lambda agent, step, records: self._status.update(f"{agent}: {records} records, {step}")

    def __exit__(self, *error: object) -> None:
        self._status.stop()
