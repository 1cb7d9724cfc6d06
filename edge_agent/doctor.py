"""Does the plant agree with the configuration? Connects, looks, compares; writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from edge_agent import app, places, units
from edge_agent.clock import Clock
from edge_agent.config.load import Configuration
from edge_agent.config.model import Write
from edge_agent.contracts import Connector, TagContract, Writable
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.errors import ModelRefused, PlantError
from edge_agent.inbox import Alive, Inbox, Samples
from edge_agent.messages import LinkState
from edge_agent.perceive.intake import Intake
from edge_agent.status import quality_words, troubles
from edge_agent.supervisor import Supervisor

_POLL_S = 0.1
_ASK_S = 5.0
_MEASURED = ("mean", "contrast", "sharpness")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    about: str  # "tag flow"
    what: str


async def examine(configuration: Configuration, *, clock: Clock, within_s: float) -> list[Finding]:
    """Everything found, good and bad. Ends as soon as every tag has a value, or after `within_s`."""
    inbox = Inbox()
    intake = Intake(app.tag_rules(configuration, configuration.file.loops), wall_ns=clock.wall_ns(), mono_ns=clock.mono_ns())
    state = places.state(configuration.file.agent) / "doctor"
    findings = [finding async for finding in _models(configuration)]
    async with Supervisor(clock) as supervisor:
        connectors = {name: app.connector(configuration, name, clock=clock, state=state) for name in configuration.connectors}
        for name, connector in connectors.items():
            supervisor.start(name, partial(connector.run, inbox))
        await _listen(inbox, intake, clock, within_s)
        findings += [_link(name, intake, connector) for name, connector in connectors.items()]
        trouble = {tag: text for connector in connectors.values() for tag, text in troubles(connector.status()).items()}
        measured = {tag: text for connector in connectors.values() for tag, text in _measured(connector).items()}
        findings += [
            _tag(name, intake, clock, trouble.get(name, ""), measured.get(name, ""))
            for name, tag in configuration.tags.items()
            if not _method(tag)
        ]
        findings += [finding async for finding in _contracts(configuration, connectors)]
    return findings


async def _listen(inbox: Inbox, intake: Intake, clock: Clock, within_s: float) -> None:
    until_ns = clock.mono_ns() + int(within_s * 1e9)
    while clock.mono_ns() < until_ns and any(state.mono_ns == 0 for state in intake.tags.values()):
        await inbox.wait(_POLL_S)
        for event in inbox.drain():
            if isinstance(event, Samples):
                for sample in event.batch:
                    intake.take(sample)
            elif isinstance(event, LinkState):
                intake.links[event.connector] = event.state == "up"
            elif isinstance(event, Alive):
                intake.alive_ns[event.connector] = event.mono_ns


def _link(name: str, intake: Intake, connector: Connector) -> Finding:
    status = connector.status()
    shift_s = intake.offsets[name].shift_ns / 1e9 if name in intake.offsets else 0.0
    said = str(status.get("reason", "")) + (f"; its clock is {-shift_s:+.1f} s off ours" if shift_s else "")
    return Finding(intake.links.get(name, False), f"link {name}", said or str(status.get("link", "")))


def _method(tag: Any) -> bool:
    publish = getattr(tag, "publish", None)
    return getattr(tag, "node", "") is None or getattr(publish, "arguments", None) is not None  # what is only called


def _tag(name: str, intake: Intake, clock: Clock, trouble: str, measured: str) -> Finding:
    """`trouble` is what its connector says of it, `measured` what it found besides."""
    reading = intake.reading(name, clock.mono_ns())
    if not reading.fit and trouble:
        return Finding(False, f"tag {name}", trouble + (f" ({measured})" if measured else ""))
    if not intake.tags[name].mono_ns:
        return Finding(False, f"tag {name}", "no value came; look at its address, and whether anything is sent")
    said = f"{_short(reading.value)}, {quality_words(reading.quality)}, {reading.age_s:.1f} s old"
    return Finding(reading.fit, f"tag {name}", said + (f"; {measured}" if measured else ""))


def _short(value: object) -> str:
    if getattr(value, "ndim", 0) >= 2:
        height, width = value.shape[:2]  # type: ignore[attr-defined]
        return f"picture of {width} x {height} pixels"
    return f"{value:.6g}" if isinstance(value, float) else f"block of {len(value)}" if hasattr(value, "__len__") else str(value)


def _measured(connector: Connector) -> dict[str, str]:
    """What a connector measured of its tags beside their value: how bright, how sharp."""
    told = connector.status().get("tags", {})
    seen = {tag: {k: v for k, v in said.items() if k in _MEASURED} for tag, said in told.items() if isinstance(said, Mapping)}
    return {tag: ", ".join(f"{name} {value}" for name, value in facts.items()) for tag, facts in seen.items() if facts}


async def _models(configuration: Configuration) -> AsyncIterator[Finding]:
    runtime = InProcessRuntime(app.opener(configuration))
    for name in configuration.file.loops:
        try:
            _, bundle = await app.diagnoser(configuration, name, runtime)
        except ModelRefused as e:
            yield Finding(False, f"loop {name}", str(e))
        else:
            signed = f"signed by {bundle.signed_by}" if bundle.signed_by else "signed by nobody we trust"
            yield Finding(True, f"loop {name}", f"model {bundle.id}, {signed}, golden vectors hold on this processor")
    await runtime.close()


async def _contracts(configuration: Configuration, connectors: Mapping[str, Connector]) -> AsyncIterator[Finding]:
    """What the devices say of tags with a unit, and of those that a loop may write."""
    writes = {tag: write for loop in configuration.file.loops.values() for tag, write in loop.execute.items()}
    for name, tag in configuration.tags.items():
        port = connectors[tag.from_]
        if not hasattr(port, "describe") or not (name in writes or tag.unit):
            continue
        try:
            async with asyncio.timeout(_ASK_S):
                contract = await cast(Writable, port).describe(name)
        except (PlantError, TimeoutError) as e:
            if name in writes:
                yield Finding(False, f"write {name}", f"the device does not say what it is: {e or 'no answer'}")
            continue
        yield _unit(name, tag.source_unit or tag.unit, contract)
        if name in writes:
            yield _writable(name, writes[name], contract)


def _unit(name: str, expected: str | None, contract: TagContract) -> Finding:
    if expected is None or contract.unit is None:
        return Finding(True, f"unit {name}", f"configured {expected or 'none'}, the device states {contract.unit or 'none'}")
    agrees = units.same(expected, contract.unit)
    cure = "" if agrees else f"; write `source_unit: {contract.unit}`, or mend the device"
    return Finding(agrees, f"unit {name}", f"configured {expected}, the device states {contract.unit}{cure}")


def _writable(name: str, write: Write, contract: TagContract) -> Finding:
    low, high = write.limits or (None, None)
    problems = [] if contract.writable else ["this user may not write it"]
    if high is not None and contract.high is not None and high > contract.high:
        problems.append(f"upper limit {high:g} lies above the device's {contract.high:g}; lower it")
    if low is not None and contract.low is not None and low < contract.low:
        problems.append(f"lower limit {low:g} lies below the device's {contract.low:g}; raise it")
    span = "states no range" if contract.low is None else f"allows {contract.low:g} to {contract.high:g}"
    return Finding(not problems, f"write {name}", "; ".join(problems) or f"{contract.type}, the device {span}")
