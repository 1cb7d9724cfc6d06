"""edge-agent models quantize: INT8 from FP32, by measurement, or the reason why FP32 stays."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edge_agent.cli.models_options import PATH, json_option, progress, show


@click.command("quantize")
@click.argument("source", type=PATH)
@click.option("--calibration", type=PATH, required=True, help="Typical windows: an .npz (docs/lab.md), or an agent's ledger.")
@click.option("--eval", "evaluation", type=PATH, required=True, help="Other windows with labels, to measure the loss on: .npz or ledger.")
@click.option("--out", type=PATH, required=True, help="Folder for the new bundle (or, from a bare ONNX file, for the two graphs).")
@click.option("--card", type=PATH, help="The card of a bare ONNX file.")
@click.option("--budget", type=click.FloatRange(0, 1), help="Most that INT8 may lose on a figure; default: the card's metrics.loss, 0.01.")
@click.option("--loop", help="The loop whose windows are taken from a ledger.")
@click.option("--role", "roles", multiple=True, metavar="ROLE=TAG", help="Which tag of the ledger is which role.")
@json_option
def quantize(
    source: Path,
    calibration: Path,
    evaluation: Path,
    out: Path,
    card: Path | None,
    budget: float | None,
    loop: str | None,
    roles: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make an INT8 model and compare it with FP32. Exit 1: slower here or worse than allowed, so that nothing is written but the report."""
    from edge_agent.lab import quantized

    pairs = dict(_pair(role) for role in roles)
    report = quantized.run(
        source, calibration=calibration, evaluation=evaluation, out=out, card=card, budget=budget, loop=loop, roles=pairs, say=progress
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(f"{out.name}.quantize.json").write_text(json.dumps(report, indent=1) + "\n")
    show(report, as_json, quantized.text)
    if not report["ok"]:
        sys.exit(1)


def _pair(text: str) -> tuple[str, str]:
    role, equals, tag = text.partition("=")
    if not (role and equals and tag):
        raise click.BadParameter(f"{text!r}: write ROLE=TAG", param_hint="--role")
    return role, tag
