"""A whole executor on a make-believe PLC: one loop, one trim of -300..300 rpm in steps of 10, fast enough for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scripted_plc import Ledger, Plc

from edge_agent.clock import ManualClock
from edge_agent.config.model import Tag, Write
from edge_agent.contracts import TagContract
from edge_agent.decide.modes import Modes
from edge_agent.execute.executor import Executor
from edge_agent.execute.station import Health
from edge_agent.execute.terms import Bounds, ModelTerms
from edge_agent.messages import Decision, Diagnosis, Mode, Outcome, Proposal, Window

TRIM: dict[str, Any] = {
    "limits": (-300.0, 300.0), "step": 10.0, "rate": "600/min", "interlocks": ["running"], "base": "base",
    "lease": {"tag": "lease", "every": "1 s"},
}  # fmt: skip
GATE: dict[str, Any] = {"values": [False, True]}


@dataclass(frozen=True)
class Says:
    """An interlock: true while the tag is."""

    name: str
    plc: Plc

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.name})

    def truth(self, values: Mapping[str, Any]) -> bool | None:
        reading = values.get(self.name)
        return reading.value if reading is not None and reading.fit else None


@dataclass
class Rig:
    """Everything, and the shortcuts the tests use."""

    plc: Plc
    ledger: Ledger
    clock: ManualClock
    modes: Modes
    executor: Executor
    stop_file: Path
    health: dict[str, Any]
    seq: int = 0
    seen: list[Outcome] = field(default_factory=list)

    async def arm(self, for_s: float = 3600.0) -> None:
        assert await self.executor.arm(by="ann", reason="test", for_s=for_s) == ()
        assert self.modes.mode is Mode.ARMED

    async def turn(
        self, *wishes: Proposal, fit: bool = True, status: Any = "ok", unknown: bool = False, pass_s: float = 1.0, tick: bool = True
    ) -> tuple[Outcome, ...]:
        """One second, one window, one decision, one tick."""
        self.clock.advance(pass_s)
        self.seq += 1
        now = self.clock.mono_ns()
        window = Window(
            loop="p1", seq=self.seq, tags=("flow",), start_ns=now, end_ns=self.clock.wall_ns(), cut_ns=self.clock.wall_ns(), mono_ns=now,
            values=np.ones((1, 4), np.float32), quality=np.zeros((1, 4), np.uint16), live={}, fit=fit,
            reasons=() if fit else ("flow: stale",),
        )  # fmt: skip
        diagnosis = Diagnosis(loop="p1", window=self.seq, end_ns=window.end_ns, status=status, score=0.9, model_hash="m1")
        decision = Decision(
            loop="p1", seq=self.seq, window=self.seq, end_ns=window.end_ns, state="relief" if wishes else "normal", previous="normal",
            proposals=wishes, reason="score > 0.8", unknown=unknown,
        )  # fmt: skip
        outcomes = await self.executor.act(decision, diagnosis, window)
        if tick:
            outcomes += await self.executor.tick()
        self.seen += outcomes
        return outcomes

    async def warm(self) -> None:
        """Good windows, so that the gate believes the inputs."""
        for _ in range(3):
            await self.turn()

    async def until(self, value: float, *wishes: Proposal, turns: int = 100) -> None:
        """Turn until the trim reads this."""
        for _ in range(turns):
            if self.plc.values["speed"] == value:
                return
            await self.turn(*wishes)
        raise AssertionError(f"{self.plc.values['speed']} after {turns} turns, mode {self.modes.mode}: {self.modes.reason}")

    @property
    def written(self) -> list[Any]:
        return [value for _, value in self.plc.writes]


def trim(value: float, tag: str = "speed") -> Proposal:
    return Proposal("trim", tag, value, "relief")


def rig(
    tmp_path: Path,
    *,
    trim_changes: Mapping[str, Any] | None = None,
    writes: Mapping[str, dict[str, Any]] | None = None,
    tier: int = 1,
    highest: Mode = Mode.ARMED,
    rearm: Any = "manual",
    bounds: Bounds | None = None,
    model: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    left: Mapping[str, Any] | None = None,
) -> Rig:
    clock, ledger = ManualClock(), Ledger()
    specs = writes or {"speed": {**TRIM, **(trim_changes or {})}}
    contracts = {
        "speed": TagContract(type="Double", writable=True, unit="rpm", low=-400.0, high=400.0),
        "lease": TagContract(type="UInt16", writable=True),
        "reject": TagContract(type="Boolean", writable=True),
        "pulse": TagContract(type="method", writable=True),
    }
    plc = Plc(
        clock, ledger, {"speed": 0.0, "lease": 0, "base": 2900.0, "running": True, "flow": 40.0, "reject": False, "pulse": None}, contracts
    )
    modes = Modes(loop="p1", highest=highest, tier=tier, rearm=rearm)
    health = {"clock_stepped": False, "jitter_s": 0.01, "disk_free": 1e9, "epoch": 3, "newest_epoch": 3}
    stop_file = tmp_path / "stop"
    checked = {tag: Write.model_validate(write) for tag, write in specs.items()}
    executor = Executor(
        loop="p1",
        writes=checked,
        tags={
            tag: Tag.model_validate({"from": "plc", "unit": "rpm" if tag == "speed" else None, "write": True, **(spec or {})})
            for tag in specs
        },
        tier=tier,
        ports=dict.fromkeys([*specs, "lease"], plc),
        journal=ledger,
        clock=clock,
        modes=modes,
        config_hash="c1",
        card=ModelTerms(**{"name": "pump@1", "hash": "m1", "verified": True, "tier": 2, **(model or {})}),
        live=plc.live,
        interlocks={tag: tuple(Says(name, plc) for name in write.interlocks) for tag, write in checked.items()},
        self_check=lambda: Health(**health),
        stop_file=stop_file,
        bounds=bounds,
        left=left,
    )
    clock.advance(60.0)
    return Rig(plc=plc, ledger=ledger, clock=clock, modes=modes, executor=executor, stop_file=stop_file, health=health)
