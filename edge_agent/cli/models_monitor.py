"""edge-agent models monitor: a first model for a loop, from its own clean windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_agent.cli.models_options import PATH, json_option, or_refuse, show


@click.command("monitor")
@click.argument("config", type=PATH)
@click.argument("loop")
@click.option("--windows", type=PATH, required=True, help="Clean windows: an agent's ledger, or an .npz (docs/lab.md).")
@click.option("--into", "out", type=PATH, required=True, help="Folder for the new bundle.")
@click.option("--version", default="1.0.0", show_default=True)
@json_option
def monitor(config: Path, loop: str, windows: Path, out: Path, version: str, as_json: bool) -> None:
    """A first model for a LOOP of CONFIG from windows of its own machine: PCA of levels and spreads, T2 and Q. Watches only (tier 0)."""

    def work() -> dict[str, Any]:
        from edge_agent.config.load import load
        from edge_agent.lab.monitor import make

        return make(load(config, resolve_secrets=False), loop, windows, out, name=out.name, version=version)

    show(or_refuse(work, as_json), as_json, _made)


def _made(reply: dict[str, Any]) -> str:
    said = (
        f"fitted on {reply['fitted']} windows, limits from {reply['held_out']} later ones, of which {reply['false_alarm_rate']:.1%} alarm"
    )
    return f"{reply['out']}: {reply['model']}, {said}\nlook at it: edge-agent models inspect {reply['out']}"
