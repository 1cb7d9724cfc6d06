"""What speaks against arming a loop? The devices are asked, nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

from edge_agent.errors import PlantError
from edge_agent.execute.actuator import Actuator, value_of
from edge_agent.execute.book import Book
from edge_agent.execute.evidence import gather
from edge_agent.execute.gate.facts import Kind, Request
from edge_agent.execute.gate.permit import Finding, evaluate
from edge_agent.execute.gate.values import same
from edge_agent.execute.lease import Lease
from edge_agent.execute.station import Held, Station, described
from edge_agent.execute.terms import problems, tolerance

_ASKED = frozenset({"contract", "model", "interlocks", "operator", "rival", "self"})
"""The guards that can be asked before there is a decision."""


async def capture(station: Station, held: Mapping[str, Held], actuator: Actuator) -> None:
    """Remember how each tag stands now: description, value, base. Whoever touches it later is an operator."""
    for tag, memory in held.items():
        try:
            async with asyncio.timeout(station.owner.bounds.read_timeout_s):
                contract = described(await station.ports[tag].describe(tag))
        except (PlantError, TimeoutError, OSError):
            memory.armed_as = memory.described = None
            continue
        memory.armed_as = memory.described = contract
        memory.config_hash = station.config_hash
        memory.value = None if contract.type == "method" else value_of(await actuator.read(tag))
        base = station.writes[tag].base
        memory.base = value_of(station.present(base)) if base else None
        ours = memory.left is not None and memory.value is not None and same(memory.value, memory.left, tolerance(station.writes[tag]))
        memory.taken, memory.moved, memory.left = False, ours, None
        memory.watch, memory.refused, memory.called = None, None, None
        memory.failures, memory.not_before_ns, memory.looked_ns = 0, 0, station.clock.mono_ns()


async def check(station: Station, held: Mapping[str, Held], book: Book, leases: Mapping[str, Lease]) -> tuple[Finding, ...]:
    """Everything found, good and bad: the guards that can be asked now, and what else must hold."""
    findings = [] if held else [Finding("execute", False, "the loop has no tag to write")]
    for tag, memory in held.items():
        findings += _of_tag(station, tag, memory, book)
    for lease in leases.values():
        findings.append(await _of_lease(station, lease))
    if station.stopped:
        findings.append(Finding("operator", False, f"the stop file {station.stop_file} is there; remove it"))
    return tuple(findings)


def _of_tag(station: Station, tag: str, memory: Held, book: Book) -> list[Finding]:
    write, spec = station.writes[tag], station.tags.get(tag)
    found = [Finding(f"{tag}: limits", False, problem) for problem in problems(write)]
    if spec is None or not spec.write or spec.safety:
        found.append(Finding(f"{tag}: whitelist", False, "the tag does not say `write: true`, or is safety-related"))
    if memory.unresolved is not None:
        found.append(Finding(f"{tag}: operator", False, "the outcome of an earlier write is still unknown"))
    kind: Kind = "call" if memory.described is not None and memory.described.type == "method" else "set"
    if memory.value is None and kind != "call":
        return [*found, Finding(f"{tag}: contract", False, "the device does not say what it is, or what it reads")]
    now = station.clock.mono_ns()
    value = memory.value if memory.value is not None else ()
    request = Request(
        loop=station.owner.loop, tag=tag, kind=kind, value=value, target=value, purpose=_ACT, phase="propose", nonce="", now_ns=now
    )
    facts = gather(station, memory, tag=tag, case=None, current=memory.value, now_ns=now, intent=None, healthy=book.healthy)
    asked = [finding for finding in evaluate(request, facts, station.fence(tag, kind)).findings if finding.guard in _ASKED]
    return [*found, *(Finding(f"{tag}: {finding.guard}", finding.ok, finding.why) for finding in asked)]


async def _of_lease(station: Station, lease: Lease) -> Finding:
    name = f"{lease.tag}: lease"
    try:
        async with asyncio.timeout(station.owner.bounds.read_timeout_s):
            contract = await station.ports[lease.tag].describe(lease.tag)
    except (PlantError, TimeoutError, OSError) as e:
        return Finding(name, False, f"the device does not describe it: {e!r}")
    lease.of_type(contract.type)
    lease.forget()
    return Finding(name, contract.writable, "ok" if contract.writable else "the device does not let us write it")


_ACT: Literal["act"] = "act"
