"""demo: the whole loop on a make-believe plant."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edge_agent.demo.stage import Plant, Stage


@click.command()
@click.option("--keep-running", is_flag=True, help="Stay up afterwards, until Ctrl-C.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="Keep all files in this new folder; default: a temporary one."
)
@click.option("--port", default=0, show_default="a free one", help="Port of the API and the local page.")
@click.option("--seed", default=1, show_default=True, help="Seed of the plant's noise.")
def command(keep_running: bool, state: Path | None, port: int, seed: int) -> None:
    """Run the whole loop on a make-believe pump: it cavitates, the agent sees it, acts, and the pump recovers.

    Starts a plant (OPC UA server and MQTT broker), the agent and its API as processes of their own. Exit code 0 only if all
    of it really happened.
    """
    import asyncio

    from edge_agent.clock import SystemClock
    from edge_agent.demo import stage as stages
    from edge_agent.errors import EdgeAgentError

    if state is not None and state.exists() and any(state.iterdir()):
        raise EdgeAgentError(f"{state} is not empty; name a new folder")
    for ending in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal leaves no process behind either
        signal.signal(ending, signal.default_int_handler)
    scratch = Path(tempfile.mkdtemp(prefix="edge-agent-demo-"))
    stage = stages.Stage(state or scratch / "demo", source=stages.source(), port=port)
    happened = False
    try:
        _play(stage, seed, asyncio.run, SystemClock())
        happened = True
        if keep_running:
            _tell_what_to_try(stage)
            signal.pause()
    except KeyboardInterrupt:
        if not happened:
            click.echo("interrupted", err=True)
            sys.exit(130)
    except EdgeAgentError:
        click.echo(f"the logs are kept in {stage.folder}", err=True)
        raise
    finally:
        stage.stop()
        if not isinstance(sys.exception(), EdgeAgentError):
            shutil.rmtree(scratch)


def _tell_what_to_try(stage: Stage) -> None:
    click.echo(f"still running; the page is at {stage.url}/ (token in {stage.token_file})")
    click.echo("in another terminal, for example:")
    for verb, rest in (("status", ""), ("explain", " last"), ("stop", "")):
        click.echo(f"  edge-agent {verb} {stage.config}{rest}")
    click.echo("Ctrl-C ends it")


def _play(stage: Stage, seed: int, run: Callable[..., object], clock: object) -> None:
    from edge_agent.demo.story import Story

    stage.build()
    _say("starting the make-believe plant")
    plant: Plant = stage.start_plant(seed)
    _say("starting the agent and its API")
    stage.start_agent()
    stage.start_api()
    _say(f"local page: {stage.url}/   token: {stage.token_file.read_text().strip()}")
    story = Story(stage, clock, _say, _progress)  # type: ignore[arg-type]
    run(story.play(plant))
    click.echo()
    for line in story.figures.text():
        click.echo("  " + line)
    click.echo()


def _say(line: str) -> None:
    _clear()
    click.echo(f"* {line}")


def _progress(what: str) -> Callable[[], None]:
    """A moving line while something is awaited, on a terminal only."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if sys.stdout.isatty():
            click.echo(f"\r  waiting for {what} {'.' * (count // 5 % 4):<4}", nl=False)

    return step


def _clear() -> None:
    if sys.stdout.isatty():
        click.echo("\r\x1b[K", nl=False)
