"""status: what the agent is doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import agent_argument, asked, json_option, show


@click.command()
@agent_argument
@json_option
def command(config: Path, as_json: bool) -> None:
    """What the agent that runs CONFIG is doing: links, loops, ledger, every bound and what it cost."""
    show(asked(config, {"do": "status"}), as_json, text)


def text(reply: dict[str, Any]) -> str:
    """A page for a person."""
    lines = [f"agent {reply['agent']}  up {reply['up_s']:.0f} s  pid {reply['pid']}  {reply['health'] or 'well'}"]
    lines += [_connector(name, c) for name, c in reply["connectors"].items()]
    for name, loop in reply["loops"].items():
        lines += _loop(name, loop)
    ledger = reply["ledger"]
    lines.append(f"ledger: {'ok' if ledger.get('healthy') else 'NOT WRITABLE'}  " + _flat(ledger))
    lines.append("inbox: " + _flat(reply["inbox"]))
    return "\n".join(lines)


def _connector(name: str, status: dict[str, Any]) -> str:
    from edge_agent.status import troubles

    bad = "".join(f"\n  tag {tag}: {text}" for tag, text in troubles(status).items())
    return f"link {name}: {status.get('link', '?')} {status.get('reason', '')}{bad}"


def _loop(name: str, loop: dict[str, Any]) -> list[str]:
    lines = [f"loop {name}: {loop['mode']}" + (f" until {loop['until']}" if loop.get("until") else "") + f"  state {loop['state']}"]
    lines.append(f"  window {loop['window']['filled']}/{loop['window']['rows']} rows, turn {loop['turns']}, model {loop['model']}")
    if loop.get("diagnosis"):
        lines.append("  diagnosis: " + _flat(loop["diagnosis"]))
    if loop.get("why"):
        lines.append(f"  why: {loop['why']}")
    return lines


def _flat(values: dict[str, Any]) -> str:
    return " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items() if not isinstance(v, dict | list))
