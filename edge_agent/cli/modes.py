"""arm, disarm, stop and their kin: who may write, for how long, and why."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.output import agent_argument, asked, json_option, show


@click.command()
@agent_argument
@click.argument("loop")
@click.option("--reason", required=True, help="Why; it is kept in the ledger.")
@click.option("--for", "duration", default="8h", show_default=True, help="For how long, like 30min or 8h.")
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who.")
@json_option
def arm(config: Path, loop: str, reason: str, duration: str, by: str, as_json: bool) -> None:
    """Allow LOOP to write: pre-arm checks run first, and the permission expires by itself."""
    reply = asked(config, {"do": "arm", "loop": loop, "reason": reason, "for": duration, "by": by})
    show(reply, as_json, _mode)


@click.command()
@agent_argument
@click.argument("loop")
@click.option("--reason", default="", help="Why; it is kept in the ledger.")
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who.")
@json_option
def disarm(config: Path, loop: str, reason: str, by: str, as_json: bool) -> None:
    """Take the permission back: LOOP ramps its trim back and observes."""
    show(asked(config, {"do": "disarm", "loop": loop, "reason": reason, "by": by}), as_json, _mode)


@click.command()
@agent_argument
@click.option("--reason", default="", help="Why; it is kept in the ledger.")
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who.")
@json_option
def stop(config: Path, reason: str, by: str, as_json: bool) -> None:
    """Stop all writing of this agent at once. `edge-agent arm` starts it again, loop by loop."""
    show(asked(config, {"do": "stop", "reason": reason, "by": by}), as_json, _stopped)


def _mode(reply: dict[str, Any]) -> str:
    lines = [f"{reply['loop']}: {reply['mode']}" + (f" until {reply['until']}" if reply.get("until") else "")]
    lines += [f"  {'ok ' if f['ok'] else 'NO '} {f['guard']}: {f['why']}" for f in reply.get("findings", [])]
    return "\n".join(lines)


def _stopped(reply: dict[str, Any]) -> str:
    return "\n".join(f"{loop}: {mode}" for loop, mode in reply["loops"].items()) or "no loops"


@click.command()
@agent_argument
@click.argument("loop")
@click.option("--reason", required=True, help="What was found; it is kept in the ledger.")
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who.")
@json_option
def reset(config: Path, loop: str, reason: str, by: str, as_json: bool) -> None:
    """End the lockout of LOOP after its cause was found: it observes again."""
    show(asked(config, {"do": "reset", "loop": loop, "reason": reason, "by": by}), as_json, _mode)


@click.command(context_settings={"ignore_unknown_options": True})  # -100 is a value
@agent_argument
@click.argument("loop")
@click.argument("tag")
@click.argument("value", type=float)
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who.")
@json_option
def approve(config: Path, loop: str, tag: str, value: float, by: str, as_json: bool) -> None:
    """Say yes to one write that waits (tier 2): LOOP may write VALUE to TAG, once, within a minute."""
    reply = asked(config, {"do": "approve", "loop": loop, "tag": tag, "value": value, "by": by})
    show(reply, as_json, lambda r: f"{r['loop']}: {r['tag']} = {r['value']} is approved")


@click.command()
@agent_argument
@click.argument("loop")
@click.option("--by", default=getpass.getuser, show_default="your login", help="Who.")
@json_option
def relearn(config: Path, loop: str, by: str, as_json: bool) -> None:
    """Let LOOP learn anew what is normal on its machine, after an overhaul; it must not be armed."""
    show(asked(config, {"do": "relearn", "loop": loop, "by": by}), as_json, _mode)
