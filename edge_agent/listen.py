"""How is a plant recorded without running any loop? Connectors into a recorder, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge_agent import app, places, recording
from edge_agent.clock import Clock
from edge_agent.config.load import Configuration
from edge_agent.inbox import Alive, Event, Inbox, Samples
from edge_agent.messages import LinkState
from edge_agent.recording import Recorder
from edge_agent.supervisor import Supervisor

_WAIT_S = 0.05


async def listen(configuration: Configuration, into: Path, *, clock: Clock, for_s: float, tell: Callable[[int], None]) -> Recorder:
    """Record what the connectors deliver for `for_s` seconds; `tell` gets the number of samples so far, a few times a second."""
    wall_ns, mono_ns = clock.wall_ns(), clock.mono_ns()
    head = {"agent": configuration.file.agent.name, "config_hash": configuration.hash, "wall_ns": wall_ns, "mono_ns": mono_ns}
    recorder = recording.begin(into, {**head, "loops": []})
    inbox, samples = Inbox(), 0
    state = places.state(configuration.file.agent)
    try:
        async with Supervisor(clock) as supervisor:
            for name in configuration.connectors:
                connector = app.connector(configuration, name, clock=clock, state=state)
                supervisor.start(f"connector {name}", partial(connector.run, inbox.of(name)))
            while clock.mono_ns() - mono_ns < for_s * 1e9 and not recorder.failed:
                await inbox.wait(_WAIT_S)
                samples += sum(_put(recorder, event) for event in inbox.drain())
                recorder.put(["tick", clock.mono_ns()])
                tell(samples)
                await clock.sleep(_WAIT_S)
    finally:
        await asyncio.to_thread(recorder.close)
    return recorder


def _put(recorder: Recorder, event: Event) -> int:
    """Write one event; how many samples it held. A batch is acknowledged: a recording is not the agent's ledger."""
    if isinstance(event, Samples):
        recorder.put(recording.samples_frame(event.batch))
        if event.committed:
            event.committed()
        return len(event.batch)
    if isinstance(event, LinkState):
        recorder.put(recording.link_frame(event))
    elif isinstance(event, Alive):
        recorder.put(["alive", event.connector, event.mono_ns])
    return 0
