"""edge-agent schema: what may stand in a configuration, for editors and for people."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("schema", short_help="Print the JSON Schema of the configuration")
@click.option("--docs", is_flag=True, help="Print the reference page instead (Markdown).")
@click.option("--write", is_flag=True, help="In a checkout: write configs/edge-agent.schema.json and docs/config.md.")
def command(docs: bool, write: bool) -> None:
    """The JSON Schema of the configuration file, with every installed plug-in."""
    from edge_agent.config import reference, schema

    if not write:
        click.echo(reference.text() if docs else schema.text(), nl=False)
        return
    for file, text in ((Path("configs/edge-agent.schema.json"), schema.text()), (Path("docs/config.md"), reference.text())):
        if not file.parent.is_dir():
            raise click.UsageError(f"there is no folder {file.parent} here; go to the checkout first")
        file.write_text(text, encoding="utf-8")
        click.echo(f"wrote {file}")
