"""Which options do the model commands share, and how do they read a bundle, refuse and print?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.errors import ModelRefused

if TYPE_CHECKING:
    from edge_agent.diagnose.bundle import Bundle

PATH = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
trust_option = click.option(
    "--trust",
    type=PATH,
    default="/etc/edge-agent/trust",
    envvar="EDGE_AGENT_TRUST",
    show_default=True,
    help="Folder of trusted public keys (NAME.pem).",
)
dev_option = click.option("--dev", is_flag=True, help="Take a bundle that nobody trusted has signed (tier 0 only).")
store_option = click.option(
    "--models",
    type=PATH,
    default="/var/lib/edge-agent/models",
    envvar="EDGE_AGENT_MODELS",
    show_default=True,
    help="Folder of the installed models.",
)


def read(bundle: Path, trust: Path, *, dev: bool) -> Bundle:
    """A bundle, with the keys of the trust folder."""
    from edge_agent.diagnose.bundle import read as open_bundle
    from edge_agent.diagnose.signature import trusted

    return open_bundle(bundle, keys=trusted(trust), dev=dev)


def or_refuse(work: Callable[[], dict[str, Any]], as_json: bool) -> dict[str, Any]:
    """The work's reply; a refusal is said in JSON too, then raised."""
    try:
        return work()
    except ModelRefused as refusal:
        if as_json:
            click.echo(json.dumps({"ok": False, "refused": str(refusal)}, indent=2))
        raise


def show(reply: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a reply."""
    click.echo(json.dumps(reply, indent=2) if as_json else text(reply))


def progress(line: str) -> None:
    """Long work says where it is, to a person who watches."""
    if sys.stderr.isatty():
        click.echo(line, err=True)
