"""replay: what a configuration decides on a recording."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import config_argument, json_option, show

_SHOWN = 100  # differences


@click.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_argument
@click.option("--what-if", is_flag=True, help="CONFIG differs from the recorded one: show which decisions would differ.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write every decision, one JSON line each.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes that share the loops; default: one a core. With --out one.")
@json_option
@click.pass_context
def command(ctx: click.Context, recording: Path, config: Path, what_if: bool, out: Path | None, jobs: int | None, as_json: bool) -> None:
    """Run RECORDING through CONFIG, without a plant.

    Exact by default: every decision must be the recorded one to the byte; exit code 1 if one is not. With --what-if each window
    is decided anew, and those are listed where the state or the wishes differ from the recorded ones.
    """
    found = (
        _shared(recording, config, what_if, jobs or os.cpu_count() or 1) if out is None else _alone(recording, config, what_if, out, None)
    )
    show(found, as_json, _text)
    if not what_if and (found["different"] or found["missing"]):
        ctx.exit(1)


def _shared(recording: Path, config: Path, what_if: bool, jobs: int) -> dict[str, Any]:
    """Loops know nothing of one another: each process takes some of them through the whole recording."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from edge_agent.config.load import load

    loops = list(load(config, resolve_secrets=False, resolve_environment=True).file.loops)
    parts = [loops[i::jobs] for i in range(min(jobs, len(loops)))]
    if len(parts) < 2:
        return _alone(recording, config, what_if, None, None)
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
        found = list(pool.map(partial(_alone, recording, config, what_if, None), parts))
    whole = found[0]
    for part in found[1:]:
        for key in ("decisions", "different", "missing", "differences"):
            whole[key] += part[key]
        whole["states"] |= part["states"]
    return {**whole, "differences": whole["differences"][:_SHOWN]}


def _alone(recording: Path, config: Path, what_if: bool, out: Path | None, only: Collection[str] | None) -> dict[str, Any]:
    return asyncio.run(_replay(recording, config, what_if, out, only))


async def _replay(recording: Path, config: Path, what_if: bool, out: Path | None, only: Collection[str] | None) -> dict[str, Any]:
    from edge_agent.config.load import load
    from edge_agent.offline import prepare
    from edge_agent.recording import canonical, read

    frames = read(recording)
    head = next(frames)[1]
    loaded = load(config, resolve_secrets=False, resolve_environment=True)
    replay, close = await prepare(loaded, head, exact=not what_if, only=only)
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
        "differences": differences[:_SHOWN],
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
