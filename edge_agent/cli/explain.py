"""explain: why did it, or did it not, act?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from edge_agent.cli.ledger import place
from edge_agent.cli.output import json_option


@click.command()
@click.argument("config", metavar="FILE_OR_CONFIG", type=click.Path(exists=True, path_type=Path))
@click.argument("which", metavar="SEQ|last", default="last")
@click.option("--loop", help="With `last`: the last decision of this loop.")
@json_option
def command(config: Path, which: str, loop: str | None, as_json: bool) -> None:
    """Why did the agent, or did it not, act? SEQ: any record's number; `last`: the newest decision, intent or outcome.

    Reads the ledger only: it answers while the agent runs, and after it has stopped.
    """
    from edge_agent.feedback.reader import Reader
    from edge_agent.feedback.story import find, tell, text

    if which != "last" and not (which.isascii() and which.isdigit()):
        raise click.BadParameter(f"{which!r} is neither a record's number nor 'last'", param_hint="SEQ")
    with Reader(place(config)) as reader:
        story = tell(reader, find(reader, None if which == "last" else int(which), loop))
    click.echo(json.dumps(story, indent=2) if as_json else text(story))
