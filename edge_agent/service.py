"""How does the control process live under systemd, or in a terminal? Signals, readiness, watchdog, reload."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from pathlib import Path

from edge_agent.agent import Agent
from edge_agent.clock import Clock
from edge_agent.config.load import Configuration, load
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.notify import notify, watchdog_s
from edge_agent.ops import Ops

_log = logging.getLogger(__name__)
_STATUS_S = 5.0


async def run(configuration: Configuration, *, clock: Clock, record: Path | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT; SIGHUP loads the configuration anew. ModelRefused if no loop has a model."""
    agent = Agent(configuration, clock=clock, record=record)
    hup = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    loop.add_signal_handler(signal.SIGHUP, hup.set)
    failure: EdgeAgentError | None = None
    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(_report(agent, clock)), group.create_task(_reload(agent, hup))]
        try:
            await agent.run(Ops(agent).handlers())
        except EdgeAgentError as e:
            failure = e  # raised below: a task group would wrap it, and the user would see a traceback
        finally:
            notify("STOPPING=1")
            for helper in helpers:
                helper.cancel()
    if failure is not None:
        raise failure
    if agent.refused and not agent.started_loops:
        raise ModelRefused("\n".join(f"loop {name}: {why}" for name, why in agent.refused.items()))


async def _report(agent: Agent, clock: Clock) -> None:
    """Ready once all parts run; then the watchdog, only while every part makes progress."""
    await agent.ready.wait()
    _settle()
    notify("READY=1")
    _log.info("agent %s is ready: %d connectors, %d loops", agent.configuration.file.agent.name, len(agent.connectors), len(agent.loops))
    period_s = min(_STATUS_S, (watchdog_s() or 3 * _STATUS_S) / 3)
    told = False
    while True:
        stuck = agent.health.stuck()
        if stuck and not told:
            _log.error("the watchdog is not fed: %s", "; ".join(stuck))  # before systemd hears of it and kills us
        elif told and not stuck:
            _log.warning("every part makes progress again")
        told = bool(stuck)
        notify(f"{_watchdog(stuck)}STATUS={_line(agent, stuck)}")
        await clock.sleep(period_s)


def _watchdog(stuck: list[str]) -> str:
    """Fed, or triggered: who is stuck has had its time already (Health.expect), systemd need not wait for its own as well."""
    if not stuck:
        return "WATCHDOG=1\n"
    return "WATCHDOG=trigger\n" if watchdog_s() else ""


def _settle() -> None:
    """What has been built stays: the collector need not walk through it again and again while loops wait."""
    gc.collect()
    gc.freeze()


def _line(agent: Agent, stuck: list[str]) -> str:
    links = agent.perceiver.intake.links
    up = sum(links.get(name, False) for name in agent.connectors)
    loops = " ".join(f"{name}:{live.modes.mode}" for name, live in list(agent.loops.items())[:5])
    return "; ".join([f"{up}/{len(agent.connectors)} links up", loops or "no loop runs", *stuck])


async def _reload(agent: Agent, hup: asyncio.Event) -> None:
    await agent.ready.wait()
    while True:
        await hup.wait()
        hup.clear()
        notify("RELOADING=1")
        gc.unfreeze()
        await reload_once(agent)
        _settle()
        notify("READY=1")


async def reload_once(agent: Agent) -> None:
    path = agent.configuration.path
    try:
        new = await asyncio.to_thread(load, path or Path())
        change = await agent.apply(new)
    except EdgeAgentError as e:
        _log.error("the new configuration is wrong, the old one goes on:\n%s", e)
        return
    if change.needs_restart:
        _log.error("%s: changed, and that needs a restart; the old configuration goes on", ", ".join(change.needs_restart))
    else:
        _log.info(
            "configuration loaded: %s", _said(change.start_loops | change.stop_loops, change.start_connectors | change.stop_connectors)
        )


def _said(loops: frozenset[str], connectors: frozenset[str]) -> str:
    parts = [f"loops {', '.join(sorted(loops))}"] if loops else []
    parts += [f"connectors {', '.join(sorted(connectors))}"] if connectors else []
    return "; ".join(parts) + " restarted" if parts else "nothing changed"
