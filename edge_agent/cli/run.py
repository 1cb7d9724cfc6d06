"""run: the agent itself."""

from __future__ import annotations

from pathlib import Path

import click

from edge_agent.cli.output import config_argument


@click.command()
@config_argument
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="Also record everything into this new file, for `replay`.")
@click.option("--verbose", is_flag=True, help="Log more.")
def command(config: Path, record: Path | None, verbose: bool) -> None:
    """Run the agent of CONFIG until it is told to stop (SIGTERM, Ctrl-C); SIGHUP loads CONFIG anew.

    Loops observe until somebody arms them (`edge-agent arm`). On the way out every trim is ramped back.
    """
    from edge_agent.config.load import load

    configuration = load(config)
    import asyncio

    from edge_agent import logs, service
    from edge_agent.clock import SystemClock

    logs.setup(verbose)
    asyncio.run(service.run(configuration, clock=SystemClock(), record=record))
