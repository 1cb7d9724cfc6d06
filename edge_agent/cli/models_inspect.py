"""edge-agent models inspect: the safety inspection of a bundle, as text, JSON and a page."""

from __future__ import annotations

from pathlib import Path

import click

from edge_agent.cli.models_options import PATH, json_option, show, trust_option


@click.command("inspect")
@click.argument("bundle", type=PATH)
@click.option("--windows", type=PATH, help="Windows to try it on (.npz; docs/lab.md); default: its own golden windows.")
@click.option("--html", type=PATH, help="Write the report as a page, too.")
@trust_option
@json_option
def inspect(bundle: Path, windows: Path | None, html: Path | None, trust: Path, as_json: bool) -> None:
    """Safety inspection: weights, golden vectors, broken sensors, disturbances, novelty, time. Says the highest tier. Exit 4: refused."""
    from edge_agent.diagnose.signature import trusted
    from edge_agent.errors import ModelRefused
    from edge_agent.lab import inspection_page
    from edge_agent.lab.inspect import inspect as look

    report = look(bundle, keys=trusted(trust), windows=windows)
    if html:
        html.write_text(inspection_page.html(report))
    show(report if report["ok"] else {**report, "refused": report["verdict"]["why"]}, as_json, inspection_page.text)
    if not report["ok"]:
        raise ModelRefused(f"{bundle}: refused: {report['verdict']['why']}")
