"""serve: the pull API and the local page."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import click

from edge_agent.cli.output import config_argument


@click.command()
@config_argument
@click.option("--host", help="Listen here instead of api.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead of api.port; 0 finds a free one.")
def command(config: Path, host: str | None, port: int | None) -> None:
    """Serve the pull API and the local page of the agent that runs CONFIG. Closed until a token is configured."""
    from edge_agent import logs
    from edge_agent.api.server import listen, serve
    from edge_agent.clock import SystemClock
    from edge_agent.config.load import load
    from edge_agent.notify import notify

    logs.setup()
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # strangers' garbage is counted, not logged
    configuration = load(config)
    file = configuration.file
    listening = listen(host or file.api.host, file.api.port if port is None else port)
    click.echo(f"listening on http{'s' if file.api.tls else ''}://{_shown(*listening.getsockname()[:2])}", err=True)
    if not file.api.tokens:
        click.echo("closed: no token is configured; name one under `api: {tokens: [...]}`", err=True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a change of keys before the first answer must not end us
    notify("READY=1")  # the socket listens: what arrives from now on is answered
    serve(configuration, SystemClock(), listening)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
