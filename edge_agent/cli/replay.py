"""replay: what a configuration decides on a recording."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import config_argument, json_option, show


@click.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_argument
@click.option("--what-if", is_flag=True, help="CONFIG differs from the recorded one: show which decisions would differ.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write every decision, one JSON line each.")
@json_option
@click.pass_context
def command(ctx: click.Context, recording: Path, config: Path, what_if: bool, out: Path | None, as_json: bool) -> None:
    """Run RECORDING through CONFIG, without a plant.

    Exact by default: every decision must be the recorded one to the byte; exit code 1 if one is not. With --what-if each window
    is decided anew, and those are listed where the state or the wishes differ from the recorded ones.
    """
    found = asyncio.run(_replay(recording, config, what_if, out))
    show(found, as_json, _text)
    if not what_if and (found["different"] or found["missing"]):
        ctx.exit(1)


async def _replay(recording: Path, config: Path, what_if: bool, out: Path | None) -> dict[str, Any]:
    from edge_agent.config.load import load
    from edge_agent.offline import prepare
    from edge_agent.recording import canonical, read

    frames = read(recording)
    head = next(frames)[1]
    replay, close = await prepare(load(config, resolve_secrets=False, resolve_environment=True), head, exact=not what_if)
    states: Counter[str] = Counter()
    differences: list[dict[str, Any]] = []
    count = 0
    lines = out.open("xb") if out else None
    try:
        async for turn in replay.run(frames):
            count += 1
            states[f"{turn.decision.loop}: {turn.decision.state}"] += 1
            if lines:
                lines.write(canonical(turn.decision) + b"\n")
            if (turn.recorded is not None and not turn.agrees) if what_if else not turn.same:
                differences.append(_difference(turn))
    finally:
        if lines:
            lines.close()
        await close()
    return {
        "recording": str(recording),
        "same_config": head.get("config_hash") == replay.config_hash,
        "decisions": count,
        "different": len(differences),
        "missing": replay.missing,
        "states": dict(states),
        "differences": differences[:100],
    }


def _difference(turn: Any) -> dict[str, Any]:
    from edge_agent.recording import canonical

    recorded = turn.recorded.decode() if turn.recorded else None
    return {"loop": turn.decision.loop, "window": turn.decision.window, "recorded": recorded, "now": canonical(turn.decision).decode()}


def _text(found: dict[str, Any]) -> str:
    lines = [f"{found['recording']}: {found['decisions']} decisions, {found['different']} different, {found['missing']} missing"]
    if not found["same_config"]:
        lines.append("the configuration is not the recorded one")
    lines += [f"  {state}: {count}" for state, count in sorted(found["states"].items())]
    for each in found["differences"][:10]:
        lines += [f"  {each['loop']} window {each['window']}", f"    recorded {each['recorded']}", f"    now      {each['now']}"]
    return "\n".join(lines)
