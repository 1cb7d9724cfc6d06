"""record: what the plant says, into a file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import config_argument, json_option, show


@click.command()
@config_argument
@click.option("--into", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A new file.")
@click.option("--for", "duration", default="1 min", show_default=True, help="How long, like 30 s or 2 h.")
@json_option
def command(config: Path, into: Path, duration: str, as_json: bool) -> None:
    """Record what the plant of CONFIG says, without running its loops: for `replay --what-if` and for trying configurations.

    It connects by itself, so stop the agent first; `edge-agent run --record FILE` records a running agent, decisions included.
    """
    from pydantic import TypeAdapter, ValidationError

    from edge_agent import control, logs, places
    from edge_agent.clock import SystemClock
    from edge_agent.config.load import load
    from edge_agent.config.types import Duration
    from edge_agent.errors import AgentUnreachable, EdgeAgentError
    from edge_agent.listen import listen

    try:
        for_s: float = TypeAdapter(Duration).validate_python(duration)
    except ValidationError as e:
        raise click.UsageError(f"--for: {e.errors()[0]['msg'].removeprefix('Value error, ')}") from e
    configuration = load(config)
    try:
        control.ask(places.socket(configuration.file.agent), {"do": "status"}, 2.0)
    except AgentUnreachable:
        pass
    else:
        raise EdgeAgentError(f"the agent of {config} is running, and both would fight for its sessions; use `run --record FILE` instead")
    logs.setup()
    recorder = asyncio.run(listen(configuration, into, clock=SystemClock(), for_s=for_s, tell=_tell))
    found: dict[str, Any] = {"recording": str(into), "frames": recorder.frames, "failed": recorder.failed}
    show(found, as_json, lambda f: f"\r{f['recording']}: {f['frames']} frames {f['failed']}")
    if recorder.failed:
        sys.exit(1)


def _tell(samples: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{samples} samples", nl=False, err=True)
