"""How every command reads its configuration, asks the agent, and prints: text for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from edge_agent import control, places

config_argument = click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def asked(config: Path, request: Mapping[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
    """Ask the agent that runs this configuration."""
    from edge_agent.config.load import load

    return control.ask(places.socket(load(config, resolve_secrets=False, resolve_environment=True).file.agent), request, timeout_s)


def show(reply: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    """Print a reply."""
    click.echo(json.dumps(reply, indent=2) if as_json else text(reply))
