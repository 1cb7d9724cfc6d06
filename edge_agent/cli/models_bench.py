"""edge-agent models bench: how long a window takes on this box, and which session suits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_agent.cli.models_options import PATH, json_option, or_refuse, read, show, trust_option


@click.command("bench")
@click.argument("bundle", type=PATH)
@click.option("--runs", type=click.IntRange(10, 1_000_000), default=500, show_default=True)
@click.option("--write", is_flag=True, help="Keep the choice beside the bundle, in NAME.session.json.")
@trust_option
@json_option
def bench(bundle: Path, runs: int, write: bool, trust: Path, as_json: bool) -> None:
    """How long one window takes on this processor: each graph, provider and number of threads; batches; and what suits this box."""

    def work() -> dict[str, Any]:
        from edge_agent.lab import bench as lab
        from edge_agent.lifecycle.bench import compare

        found = read(bundle, trust, dev=True)
        reply = compare(found, runs) | lab.grid(found, runs)
        if write:
            reply["written"] = str(lab.write(bundle.resolve(), found, reply["choice"]))
        return reply

    show(or_refuse(work, as_json), as_json, _times)


def _times(reply: dict[str, Any]) -> str:
    from edge_agent.lab.report import columns

    rows = [["graph", "provider", "threads", "p50 us", "p99 us", "max us"]]
    rows += [
        [r["graph"], r["provider"], r["threads"], f"{r['p50_us']:.1f}", f"{r['p99_us']:.1f}", f"{r['max_us']:.1f}"] for r in reply["grid"]
    ]
    batches = [
        ["batch", "windows/s", "p99 us"],
        *([str(b["batch"]), str(b["windows_per_s"]), f"{b['p99_us']:.1f}"] for b in reply["batches"]),
    ]
    choice = reply["choice"]
    lines = [*columns(rows), "", *columns(batches), ""]
    lines += [f"faster here: {reply['faster']} (fp32 / model = {reply['fp32_over_model']})"] if "faster" in reply else []
    lines.append(f"suits this box: {choice['graph']}, {choice['provider']}, {choice['threads']} thread(s)")
    return "\n".join([*lines, *([f"written to {reply['written']}"] if "written" in reply else [])])
