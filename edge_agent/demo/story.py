"""The demo's story: well, a fault, seen, acted on, recovered, released, put on record, pulled. Every act is checked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from edge_agent import control
from edge_agent.clock import Clock
from edge_agent.demo.stage import Plant, Stage
from edge_agent.errors import AgentUnreachable, EdgeAgentError

LOOP = "pump"
FAULT = {"fault": "suction_valve", "severity": 0.7, "ramp_s": 4.0}
_POLL_S = 0.1

Say = Callable[[str], None]


class Failed(EdgeAgentError):
    """The demo did not do what it shows."""


@dataclass(slots=True)
class Figures:
    """What was measured. Seconds unless the name says otherwise."""

    ready_s: float = 0.0
    first_diagnosis_s: float = 0.0
    detected_s: float = 0.0  # from the first true cavitation to the decision
    acted_ms: float = 0.0  # from the decision to the acknowledged write, the intent on disk in between
    verified_ms: float = 0.0  # from the write to the read-back that agreed
    recovered_s: float = 0.0  # from the first write to a plant that no longer cavitates
    released_s: float = 0.0  # from the repair to the trim being back at neutral
    writes: int = 0
    labels: list[str] = field(default_factory=list)
    pulled: int = 0
    ledger_records: int = 0

    def text(self) -> Iterator[str]:
        """For people."""
        yield f"the agent was ready after {self.ready_s:.1f} s and gave its first diagnosis after {self.first_diagnosis_s:.1f} s"
        yield f"detected after      {self.detected_s:6.1f} s   of true cavitation"
        yield f"acted after         {self.acted_ms:6.0f} ms  from decision to write, intent on disk before it"
        yield f"verified after      {self.verified_ms:6.0f} ms  by reading the tag back"
        yield f"recovered after     {self.recovered_s:6.1f} s   from the first write; the plant itself says so"
        yield f"released after      {self.released_s:6.1f} s   from the repair; {self.writes} writes in all, each verified"
        yield f"labelled            {', '.join(self.labels)}"
        yield f"pulled              {self.pulled:6d}     records, the ledger of {self.ledger_records} verifies"


class Story:
    """Plays on a stage. `say` gets one line an act; `step` is asked to show progress while something is awaited."""

    def __init__(self, stage: Stage, clock: Clock, say: Say, wait: Callable[[str], Callable[[], None]]) -> None:
        self._stage, self._clock, self._say, self._wait = stage, clock, say, wait
        self._socket = stage.folder / "state" / "control.sock"
        self.figures = Figures()

    async def play(self, plant: Plant) -> Figures:
        """All acts, in order. Failed says which did not happen."""
        await self._well()
        await self._arm()
        onset_s = await self._fault(plant)
        await self._detected(onset_s)
        await self._recovered(plant)
        await self._released(plant)
        await self._on_record()
        return self.figures

    # ------------------------------------------------------------ acts

    async def _well(self) -> None:
        start_s = self._now()
        await self._until("the agent to answer", lambda: bool(self._status()), 30)
        self.figures.ready_s = self._now() - start_s
        await self._until("a first diagnosis", lambda: (self._loop().get("diagnosis") or {}).get("status") == "ok", 40)
        self.figures.first_diagnosis_s = self._now() - start_s
        self._say(f"perceives and diagnoses: {self._diagnosis()}")

    async def _arm(self) -> None:
        start_s = self._now()
        while True:
            try:
                reply = control.ask(self._socket, {"do": "arm", "loop": LOOP, "reason": "demo", "for": "1h", "by": "demo"})
            except EdgeAgentError as e:
                if self._now() - start_s > 20:
                    raise Failed(f"the loop could not be armed: {e}") from e
                await self._clock.sleep(0.5)
                continue
            self._say(f"armed until {reply['until']}: from now on it may write, within its limits")
            return

    async def _fault(self, plant: Plant) -> float:
        plant.order(FAULT)
        self._say("fault: the suction valve begins to close")
        await self._until("the pump to cavitate", lambda: bool(plant.order({"state": True})["cavitating"]), 30)
        self._say("the pump cavitates now (the plant says so; the agent does not know yet)")
        return self._now()

    async def _detected(self, onset_s: float) -> None:
        await self._until("the policy to ask for relief", lambda: self._loop().get("state") == "relief", 30)
        self.figures.detected_s = max(0.0, self._now() - onset_s)
        self._say(f"detected: {self._diagnosis()}; {self._loop().get('because')}")
        await self._until("a confirmed write", lambda: self._confirmed() is not None, 20)
        first = self._confirmed() or {}
        self.figures.acted_ms, self.figures.verified_ms = float(first["write_ms"]), float(first["verify_ms"])
        self._say(f"acted: {first['tag']} = {first['value']:g} rpm, read back {first['after']:g}")

    async def _recovered(self, plant: Plant) -> None:
        start_s = self._now()
        await self._until("the plant to recover", lambda: not plant.order({"state": True})["cavitating"], 40)
        self.figures.recovered_s = self._now() - start_s
        truth = plant.order({"state": True})
        self._say(f"recovered: no cavitation at {truth['speed']:.0f} rpm (margin {truth['margin_m']:+.2f} m)")
        await self._until("the process response to be put on record", lambda: self._responded(), 40)

    async def _released(self, plant: Plant) -> None:
        plant.order({"clear": True, "ramp_s": 2.0})
        self._say("repair: somebody opens the valve; the trim stays until the model has seen 10 s of normal running")
        start_s = self._now()
        await self._until("the trim to return to neutral", lambda: self._loop().get("state") == "normal" and self._trim() == 0, 60)
        self.figures.released_s = self._now() - start_s
        self._say("released: the trim is back at 0, the operator's base speed alone counts")

    async def _on_record(self) -> None:
        await self._until("the alarm to be labelled by its outcome", lambda: bool(self._labels()), 30)
        self.figures.labels = self._labels()
        self.figures.writes = sum(o["status"] == "confirmed" and o["intent"] is not None for o in self._outcomes())
        unsettled = [o for o in self._outcomes() if o["intent"] is not None and o["status"] != "confirmed"]
        if unsettled:
            raise Failed(f"a write was not confirmed: {unsettled[0]}")
        pool, token = self._stage.folder / "pool", self._stage.token_file
        first = self._run("pool", "pull", self._stage.url, "--into", str(pool), "--token-file", str(token), "--json")
        again = self._run("pool", "pull", self._stage.url, "--into", str(pool), "--token-file", str(token), "--json")
        self.figures.pulled = sum(int(p["records"]) for p in (*first["pulled"], *again["pulled"]))
        verified = self._run("ledger", "verify", str(self._stage.config), "--json")
        self.figures.ledger_records = int(verified["records"])
        if not self.figures.pulled:
            raise Failed("the pull job fetched no record")
        self._say(f"pulled {self.figures.pulled} records into {pool}; the ledger verifies")

    # ------------------------------------------------------------ what can be seen

    def _status(self) -> dict[str, Any]:
        try:
            return control.ask(self._socket, {"do": "status"})
        except AgentUnreachable:
            return {}

    def _loop(self) -> dict[str, Any]:
        found: dict[str, Any] = self._status().get("loops", {}).get(LOOP, {})
        return found

    def _diagnosis(self) -> str:
        d = self._loop().get("diagnosis") or {}
        blame = ", ".join(f"{tag} {share:.0%}" for tag, share in list((d.get("contributions") or {}).items())[:3])
        return f"{d.get('label')}, score {d.get('score') or 0:.2f}, confidence {d.get('confidence') or 0:.2f}" + (
            f", because of {blame}" if blame else ""
        )

    def _trim(self) -> float | None:
        value = self._status().get("tags", {}).get("speed_trim", {}).get("value")
        return None if value is None else float(value)

    def _records(self, kind: str) -> list[dict[str, Any]]:
        from edge_agent.feedback.reader import Reader

        with Reader(self._stage.folder / "state" / "ledger") as reader:
            return [dict(record.payload) for record in reversed(reader.newest(200, kind))]

    def _outcomes(self) -> list[dict[str, Any]]:
        return self._records("outcome")

    def _confirmed(self) -> dict[str, Any] | None:
        return next((o for o in self._outcomes() if o["status"] == "confirmed"), None)

    def _responded(self) -> bool:
        return any(o.get("stage") == "response" and o["status"] == "confirmed" for o in self._outcomes())

    def _labels(self) -> list[str]:
        return [str(label["value"]) for label in self._records("label")]

    # ------------------------------------------------------------ small matters

    def _run(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603 - our own program
            self._stage.command(*arguments), env=self._stage.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise Failed(f"edge-agent {' '.join(arguments[:2])} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    async def _until(self, what: str, holds: Callable[[], bool], within_s: float) -> None:
        start_s = self._now()
        shown = self._wait(what)
        while not holds():
            if dead := self._stage.dead():
                raise Failed(f"while waiting for {what}: {dead}")
            if self._now() - start_s > within_s:
                raise Failed(f"waited {within_s:g} s for {what}; it did not happen (logs in {self._stage.folder})")
            shown()
            await self._clock.sleep(_POLL_S)

    def _now(self) -> float:
        return self._clock.mono_ns() / 1e9
