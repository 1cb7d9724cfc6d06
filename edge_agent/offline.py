"""What does a replay need of a configuration? The perceiver and the thinking links, built as live, without plant, ledger or worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from edge_agent import app, choice
from edge_agent.config.load import Configuration
from edge_agent.decide.link import Decider
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.messages import Reading
from edge_agent.perceive.intake import Intake
from edge_agent.perceive.link import Perceiver, View
from edge_agent.replay import Middle, Replay


async def prepare(
    configuration: Configuration, head: Mapping[str, Any], *, exact: bool, only: Collection[str] | None = None
) -> tuple[Replay, Callable[[], Awaitable[None]]]:
    """A replay of a recording with this head, and what closes it. `only`: these loops and no others. ModelRefused."""
    rules = app.tag_rules(configuration, configuration.file.loops)
    perceiver = Perceiver(Intake(rules, wall_ns=head["wall_ns"], mono_ns=head["mono_ns"]))
    runtime = InProcessRuntime(app.opener(configuration))

    async def start(name: str) -> tuple[View, Middle]:
        diagnoser = (await choice.choose(configuration, name, runtime)).diagnoser
        decider = Decider(app.policy(configuration, name), name)
        return app.view(configuration, name, partial(_readings, perceiver, replay, name)), Middle(diagnoser, decider)

    loops = [name for name in configuration.file.loops if only is None or name in only]
    recorded = head.get("loops") or ()
    replay = Replay(perceiver, start, loops, exact=exact, recorded=recorded, config_hash=configuration.hash)
    return replay, runtime.close


def _readings(perceiver: Perceiver, replay: Replay, loop: str) -> Mapping[str, Reading]:
    return perceiver.live(perceiver.views[loop], replay.mono_ns)
