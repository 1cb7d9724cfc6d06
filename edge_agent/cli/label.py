"""label: say what was true."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from edge_agent.cli.output import agent_argument, asked, json_option, show


@click.command()
@agent_argument
@click.argument("seq", type=click.IntRange(1), nargs=-1, required=True)
@click.argument("value")
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who says so.")
@click.option("--note", default="", help="Anything worth knowing.")
@json_option
def command(config: Path, seq: tuple[int, ...], value: str, by: str, note: str, as_json: bool) -> None:
    """Say what was true of the records SEQ: a fault's name, "false alarm", "ok" ...

    A label is a new record that points at older ones; nothing is changed, and labels that disagree stand side by side.
    """
    reply = asked(config, {"do": "label", "seq": list(seq), "value": value, "by": by, "note": note})
    show(reply, as_json, lambda r: f"label {r['seq']} on {', '.join(map(str, seq))}: {value}")
