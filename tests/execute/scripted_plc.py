"""A PLC that misbehaves on demand, and a ledger that can be told to fail. The PLC insists on an intent before each write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.clock import ManualClock
from edge_agent.contracts import Reply, TagContract
from edge_agent.errors import LedgerError, PlantError
from edge_agent.messages import Quality, Reading, Scalar


@dataclass
class Ledger:
    """A journal in memory."""

    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    broken: bool = False
    healthy_flag: bool = True

    @property
    def healthy(self) -> bool:
        return self.healthy_flag and not self.broken

    async def append(self, kind: str, payload: Mapping[str, Any], *, loop: str | None = None, blobs: Sequence[bytes] = ()) -> int:
        await asyncio.sleep(0)
        if self.broken:
            raise LedgerError("the disk is full")
        self.records.append((kind, dict(payload)))
        return len(self.records) - 1

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [payload for found, payload in self.records if found == kind]

    def open_intents(self) -> set[int]:
        """Intents without an outcome, or whose last outcome is unknown."""
        opened = {seq for seq, (kind, _) in enumerate(self.records) if kind == "intent"}
        ended = {payload["intent"]: payload["status"] for payload in self.of("outcome") if payload["intent"] is not None}
        return {seq for seq in opened if ended.get(seq, "unknown") == "unknown"}


Script = Callable[["Plc", str, Scalar], Reply]


@dataclass
class Plc:
    """Values by tag. Each write takes the next behaviour from `script`; without one it does as it is told."""

    clock: ManualClock
    ledger: Ledger
    values: dict[str, Any]
    contracts: dict[str, TagContract]
    script: deque[str] = field(default_factory=deque)
    writes: list[tuple[str, Scalar]] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    calls: list[tuple[str, tuple[Scalar, ...]]] = field(default_factory=list)
    coming: list[tuple[int, str, Any]] = field(default_factory=list)  # (due, tag, value)
    deaf: bool = False
    reads: int = 0

    async def describe(self, tag: str) -> TagContract:
        await asyncio.sleep(0)
        if self.deaf or tag not in self.contracts:
            raise PlantError(f"{tag}: BadNodeIdUnknown")
        return self.contracts[tag]

    async def read(self, tag: str) -> Reading:
        await asyncio.sleep(0)
        self.reads += 1
        if self.deaf or tag not in self.values:
            raise PlantError(f"{tag}: no answer")
        self.scan()
        return Reading(self.values[tag], 0, self.clock.wall_ns(), 0.0)

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        await asyncio.sleep(0)
        if tag == "lease":
            self.beats.append(int(value))
            self.values[tag] = value
            return self.good()
        kind, intent = next((kind, payload) for kind, payload in reversed(self.ledger.records) if kind in ("intent", "outcome"))
        assert kind == "intent", "a write without a durable intent right before it"
        assert (intent["tag"], intent["value"]) == (tag, value)
        self.writes.append((tag, value))
        if self.deaf:
            raise PlantError(f"{tag}: the link is down")
        return self.behave(self.script.popleft() if self.script else "obey", tag, value)

    async def call(self, tag: str, arguments: Sequence[Scalar], timeout_s: float) -> Reply:
        await asyncio.sleep(0)
        assert self.ledger.records[-1][0] == "intent"
        self.calls.append((tag, tuple(arguments)))
        behaviour = self.script.popleft() if self.script else "obey"
        if behaviour == "silent":
            raise TimeoutError("no answer")
        return self.good() if behaviour == "obey" else Reply(status="refused", code="BadInvalidArgument", at_mono_ns=self.clock.mono_ns())

    def good(self, code: str = "Good") -> Reply:
        return Reply(status="good", code=code, at_mono_ns=self.clock.mono_ns())

    def behave(self, behaviour: str, tag: str, value: Any) -> Reply:
        self.apply(behaviour, tag, value)
        if behaviour == "vanish":
            self.deaf = True
        if behaviour in ("silent", "slow", "lost"):
            raise TimeoutError("no answer within 2 s")
        if behaviour == "crash":
            raise ZeroDivisionError("a broken connector")
        if behaviour == "cancel":
            raise asyncio.CancelledError
        if behaviour in ("refuse", "clamp"):
            code = "BadOutOfRange" if behaviour == "refuse" else "GoodClamped"
            return Reply(status="refused", code=code, at_mono_ns=self.clock.mono_ns())
        return self.good("GoodClamped" if behaviour == "clamp_as_good" else "Good")

    def apply(self, behaviour: str, tag: str, value: Any) -> None:
        """What really happens in the machine, whatever is answered."""
        now, before = self.clock.mono_ns(), self.values[tag]
        if behaviour in ("obey", "silent", "revert", "vanish", "cancel"):
            self.values[tag] = value
        elif behaviour in ("scan", "slow"):
            self.coming.append((now + (300_000_000 if behaviour == "scan" else 6_000_000_000), tag, value))
        elif behaviour in ("clamp", "clamp_as_good", "clamp_silently"):
            self.values[tag] = before + (value - before) * 0.2
        elif behaviour == "fight":
            self.values[tag] = value + 77.0
        if behaviour == "revert":
            self.coming.append((now + 40_000_000, tag, before))

    def scan(self) -> None:
        """What was accepted earlier takes effect now."""
        due = [entry for entry in self.coming if entry[0] <= self.clock.mono_ns()]
        self.coming = [entry for entry in self.coming if entry not in due]
        for _, tag, value in due:
            self.values[tag] = value

    def live(self, tag: str) -> Reading:
        """The subscription's view: instant here."""
        self.scan()
        if tag not in self.values:
            raise KeyError(tag)
        return Reading(self.values[tag], int(Quality.LINK) if self.deaf else 0, self.clock.wall_ns(), 0.0)
