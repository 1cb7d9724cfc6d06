"""How every command reads its configuration, asks the agent, and prints: text for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from edge_agent import control, places
from edge_agent.errors import ConfigError, Problem

config_argument = click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
agent_argument = click.argument("config", metavar="CONFIG", type=click.Path(exists=True, path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def asked(config: Path, request: Mapping[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
    """Ask the agent that runs this configuration, or that keeps its things in this folder."""
    from edge_agent.config.load import agent

    try:
        socket = config / places.SOCKET if config.is_dir() else places.socket(agent(config))
    except ConfigError as error:
        way = Problem(str(config), 0, 0, "", "does not say whose file it is", "mend it, or name the agent's state folder in its place")
        raise ConfigError([*error.problems, way]) from error
    return control.ask(socket, request, timeout_s)


def show(reply: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    """Print a reply."""
    click.echo(json.dumps(reply, indent=2) if as_json else text(reply))
