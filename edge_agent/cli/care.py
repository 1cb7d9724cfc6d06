"""systemd-dropin, security-report, bundle-support: what administrators ask for."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edge_agent.cli.output import config_argument, json_option
from edge_agent.errors import EdgeAgentError


@click.command("systemd-dropin")
@config_argument
@click.option("--callers", multiple=True, metavar="NETWORK", help="For the API's unit instead: who may call it, like 10.1.0.0/16.")
def dropin(config: Path, callers: tuple[str, ...]) -> None:
    """Print a drop-in for edge-agent@NAME: the kernel lets it reach the peers that CONFIG names, and nobody else.

    Save it as /etc/systemd/system/edge-agent@NAME.service.d/peers.conf, then `systemctl daemon-reload` and restart.
    """
    from edge_agent.care import peers
    from edge_agent.config.load import load

    configuration = load(config, resolve_secrets=False, resolve_environment=True)
    click.echo(peers.for_callers(list(callers)) if callers else peers.dropin(configuration), nl=False)


@click.command("security-report")
@config_argument
@json_option
def security(config: Path, as_json: bool) -> None:
    """How safe the agent of CONFIG is set up: links, writes, API, models, files. Exit 1 if something is bad."""
    from edge_agent.care import security
    from edge_agent.config.load import load

    points = security.report(load(config))
    if as_json:
        click.echo(json.dumps(security.told(points), indent=2))
    else:
        for point in points:
            click.echo(f"{point.verdict:5} {point.topic} {point.what}: {point.found}" + (f"\n      -> {point.cure}" if point.cure else ""))
    if any(point.verdict == "bad" for point in points):
        raise click.exceptions.Exit(1)


@click.command("bundle-support")
@config_argument
@click.option("--into", type=click.Path(dir_okay=False, path_type=Path), help="The archive; default: edge-agent-NAME.tar.gz, here.")
@click.option("--payloads", type=click.IntRange(0, 100_000), default=0, show_default=True, help="So many records with their values, too.")
def bundle(config: Path, into: Path | None, payloads: int) -> None:
    """Pack what somebody needs who helps from afar: versions, CONFIG with secrets masked, status, last logs, the ledger's health."""
    from edge_agent.care import bundle
    from edge_agent.clock import SystemClock
    from edge_agent.config.load import load

    configuration = load(config)
    file = into or Path(f"edge-agent-{configuration.file.agent.name}.tar.gz")
    if file.exists():
        raise EdgeAgentError(f"{file}: is there already; move it away, or name another with --into")
    names = bundle.pack(configuration, file, SystemClock(), payloads=payloads)
    click.echo(f"{file}: {', '.join(names)}\nlook into it before you send it")
