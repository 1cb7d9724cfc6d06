"""Command line: one file a command group; parses, calls, prints, nothing else."""

from __future__ import annotations

import importlib
import os
import sys

import click

from edge_agent import __version__
from edge_agent.errors import EdgeAgentError

# command -> (section of the help, module that holds a click command called `command`, one line of help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("Set up", "demo", "Run the whole loop on a make-believe plant"),
    "init": ("Set up", "init", "Write a first configuration"),
    "check": ("Set up", "check", "Check a configuration; never touches the network"),
    "schema": ("Set up", "schema", "Print the JSON Schema of the configuration"),
    "test": ("Set up", "test", "Run the tests inside a configuration"),
    "doctor": ("Set up", "doctor", "Compare the plant with a configuration; writes nothing"),
    "run": ("Run", "run", "Run the agent"),
    "serve": ("Run", "serve", "Serve the pull API"),
    "arm": ("Run", "modes:arm", "Allow a loop to write, for a time, with a reason"),
    "disarm": ("Run", "modes:disarm", "Take that back: the loop observes"),
    "stop": ("Run", "modes:stop", "Stop all writing at once"),
    "reset": ("Run", "modes:reset", "End a lockout after its cause was found"),
    "approve": ("Run", "modes:approve", "Say yes to one write that waits (tier 2)"),
    "relearn": ("Run", "modes:relearn", "Learn anew what is normal on this machine"),
    "status": ("Look", "status", "What the agent is doing"),
    "explain": ("Look", "explain", "Why did it, or did it not, act"),
    "record": ("Look", "record", "Record what the plant says into a file"),
    "replay": ("Look", "replay", "Run a recording through a configuration"),
    "security-report": ("Look", "care:security", "How safe the agent is set up"),
    "systemd-dropin": ("Look", "care:dropin", "Print the firewall that the configuration is"),
    "bundle-support": ("Look", "care:bundle", "Pack what somebody needs who helps from afar"),
    "label": ("Data", "label", "Say what was true"),
    "ledger": ("Data", "ledger", "Look into the ledger and verify it"),
    "pool": ("Data", "pool", "Pull many agents into one pool"),
    "models": ("Models", "models", "List, inspect, verify, sign model bundles"),
}


class _Lazy(click.Group):
    """Imports a command's module when it is called, so that `--help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][1].partition(":")
        found: click.Command = getattr(importlib.import_module(f"edge_agent.cli.{module}"), name or "command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry[0] for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items() if entry[0] == section])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edge-agent")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def root(ctx: click.Context, debug: bool) -> None:
    """One small service per industrial PC: perceive, diagnose, decide, execute, feed back."""
    ctx.obj = {"debug": debug}


def main() -> None:
    """Entry point: a user's mistake is one line and an exit code, never a traceback."""
    try:
        root(prog_name="edge-agent", standalone_mode=True)
    except EdgeAgentError as error:
        if "--debug" in sys.argv[1:]:
            raise
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a file or folder that nobody looked at more closely
        if "--debug" in sys.argv[1:]:
            raise
        click.echo(f"{error.filename}: {error.strerror}" if error.filename else str(error), err=True)
        sys.exit(1)
