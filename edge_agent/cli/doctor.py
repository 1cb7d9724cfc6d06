"""doctor: does the plant agree with the configuration?"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import config_argument, json_option, show


@click.command()
@config_argument
@click.option("--within", default=10.0, show_default=True, help="Seconds to wait for every tag's first value.")
@json_option
def command(config: Path, within: float, as_json: bool) -> None:
    """Connect to the plant of CONFIG and compare: links, values, units, types, access, limits, models. Writes nothing.

    Run it before the agent; while the agent runs, `edge-agent status` says the same without a second session. Exit code 1 with findings.
    """
    from edge_agent import control, logs, places
    from edge_agent.clock import SystemClock
    from edge_agent.config.load import load
    from edge_agent.doctor import examine
    from edge_agent.errors import AgentUnreachable, EdgeAgentError

    configuration = load(config)
    try:
        control.ask(places.socket(configuration.file.agent), {"do": "status"}, 2.0)
    except AgentUnreachable:
        pass
    else:
        raise EdgeAgentError(f"the agent of {config} is running; look at `edge-agent status {config}`, or stop it first")
    logs.setup()
    logging.getLogger().setLevel(logging.ERROR)
    findings = asyncio.run(examine(configuration, clock=SystemClock(), within_s=within))
    bad = sum(not finding.ok for finding in findings)
    show({"findings": [asdict(f) for f in findings], "bad": bad}, as_json, _text)
    if bad:
        sys.exit(1)


def _text(found: dict[str, Any]) -> str:
    lines = [f"{'ok ' if f['ok'] else 'NO '} {f['about']}: {f['what']}" for f in found["findings"]]
    lines.append("all well" if not found["bad"] else f"{found['bad']} of {len(found['findings'])} need a look")
    return "\n".join(lines)
