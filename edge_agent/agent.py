"""The control process: which parts run, in which order they start, and what happens when the configuration changes?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_agent import app, control, places, recording, reload, status
from edge_agent.clock import Clock
from edge_agent.config.load import Configuration
from edge_agent.contracts import Connector
from edge_agent.decide.link import Decider
from edge_agent.decide.modes import Modes
from edge_agent.diagnose.link import Diagnoser
from edge_agent.diagnose.worker import WorkerRuntime
from edge_agent.errors import ConfigError, LedgerError, ModelRefused
from edge_agent.execute.actuator import Assets
from edge_agent.execute.executor import Executor
from edge_agent.execute.station import Health as Condition
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.link import Feedback
from edge_agent.feedback.reader import Reader
from edge_agent.health import Health
from edge_agent.inbox import Inbox
from edge_agent.loop import Loop, Turn
from edge_agent.loops import Runner
from edge_agent.memory import Memories, Memory
from edge_agent.messages import Mode, Reading, Window
from edge_agent.perceive.intake import Intake, TagState
from edge_agent.perceive.link import Perceiver
from edge_agent.pump import TICK_S, Pump
from edge_agent.recording import Frame, Recorder
from edge_agent.supervisor import Supervisor
from edge_agent.vitals import Vitals
from edge_agent.windows import Windows

_log = logging.getLogger(__name__)
_REARM_WINDOWS = 3  # good ones in a row before a loop arms itself again
_REARM_PAUSE_NS = 5_000_000_000
_END_S = 60.0  # the longest that the loops may take to shed


@dataclass(slots=True, kw_only=True)
class Live:
    """One loop as it runs."""

    runner: Runner
    diagnoser: Diagnoser
    executor: Executor
    feedback: Feedback
    memory: Memory
    modes: Modes
    mode: Mode  # as it was when we last looked
    version: tuple[int, ...]  # of its model
    rearm_after_ns: int = 0


class Agent:
    """Everything of one configuration, alive. `run` starts it and returns when `stop` was called and all has shed."""

    def __init__(self, configuration: Configuration, *, clock: Clock, record: Path | None = None) -> None:
        self.configuration, self.clock = configuration, clock
        self.state = places.state(configuration.file.agent)
        self.started_ns = clock.mono_ns()
        self.health = Health(clock)
        self.vitals = Vitals(clock, self.state, TICK_S)
        self.memories = Memories(self.state / "loops")
        self.ledger = Ledger.of(configuration.file, clock)
        self.loops: dict[str, Live] = {}
        self.refused: dict[str, str] = {}  # loop -> why its model was not admitted
        self.started_loops = 0
        self.connectors: dict[str, Connector] = {}
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.inbox = Inbox()
        self.supervisor = Supervisor(clock)
        wall_ns, mono_ns = clock.wall_ns(), clock.mono_ns()
        rules = app.tag_rules(configuration, configuration.file.loops)
        self.perceiver = Perceiver(Intake(rules, wall_ns=wall_ns, mono_ns=mono_ns))
        self.runtime = WorkerRuntime(app.opener(configuration))
        self.recorder = self._recorder(record, wall_ns, mono_ns) if record else None
        self._assets = Assets()
        self._pump = Pump(
            inbox=self.inbox,
            perceiver=self.perceiver,
            ledger=self.ledger,
            clock=clock,
            put=self._put,
            record=self._record,
            round_done=self._round_done,
        )

    # ------------------------------------------------------------ life

    async def run(self, handlers: Mapping[str, control.Handler]) -> None:
        """Start in this order: ledger, control socket, pump, connectors, loops; stop in the reverse."""
        self.state.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self.ledger.start)
        try:
            await self._note_config()
            async with self.supervisor as supervisor:
                supervisor.start("control socket", partial(control.serve, places.socket(self.configuration.file.agent), handlers))
                self.health.expect("pump", 10.0)
                supervisor.start("pump", self._pump.run)
                for name in self.configuration.connectors:
                    self._start_connector(name)
                for name in self.configuration.file.loops:
                    await self._start_loop(name)
                self._pump.recorded_tags = self._recorded()
                self.ready.set()
                if self.loops or not self.refused:
                    await self.ended.wait()
                await self._end_loops(list(self.loops), "the agent stops")
        finally:
            await self.runtime.close()
            if self.recorder:
                await asyncio.to_thread(self.recorder.close)
            await asyncio.to_thread(self.ledger.close)

    def stop(self) -> None:
        """Shed and end."""
        self.ended.set()

    async def apply(self, new: Configuration) -> reload.Change:
        """Change over to a new configuration: only what differs is stopped and started."""
        change = reload.change(self.configuration, new)
        if change.needs_restart:
            return change
        await self._end_loops(sorted(change.stop_loops), "its configuration changed")
        for name in sorted(change.stop_connectors):
            await self.supervisor.stop(f"connector {name}")
            self.connectors.pop(name, None)
        self.configuration = new
        self._new_tags(change)
        for name in sorted(change.start_connectors):
            self._start_connector(name)
        for name in sorted(change.start_loops):
            await self._start_loop(name)
        self._pump.recorded_tags = self._recorded()
        await self._note_config()
        return change

    # ------------------------------------------------------------ parts

    def _start_connector(self, name: str) -> None:
        connector = app.connector(self.configuration, name, clock=self.clock, state=self.state)
        self.connectors[name] = connector
        self.supervisor.start(f"connector {name}", partial(connector.run, self.inbox))

    async def _start_loop(self, name: str) -> None:
        """Build and start a loop. A model that is refused stops this loop only."""
        self.refused.pop(name, None)
        try:
            live = await self._build(name)
        except (ModelRefused, ConfigError) as e:
            self.refused[name] = str(e)
            _log.error("loop %s does not run: %s", name, e)
            await self._append("model", {"event": "refused", "why": str(e)}, name)
            return
        self.loops[name] = live
        self.started_loops += 1
        self._record(["start", name])
        if live.memory.baseline is not None:
            self._record(["baseline", name, live.memory.baseline])
        self.perceiver.add(app.view(self.configuration, name, partial(self._readings, name)))
        self.supervisor.start(f"loop {name}", live.runner.run)

    async def _build(self, name: str) -> Live:
        configuration, config = self.configuration, self.configuration.file.loops[name]
        diagnoser, bundle = await app.diagnoser(configuration, name, self.runtime)
        memory = self.memories.load(name)
        self._restore(name, diagnoser, bundle.model_hash, memory)
        modes = Modes(
            loop=name, highest=Mode(config.mode), tier=config.tier, rearm=config.rearm, locked=await asyncio.to_thread(self._lockout, name)
        )
        executor = Executor(
            loop=name,
            writes=config.execute,
            tags=configuration.tags,
            tier=config.tier,
            ports=app.ports(configuration, name, self.connectors),
            journal=self.ledger,
            clock=self.clock,
            modes=modes,
            config_hash=configuration.hash,
            card=app.terms(configuration, name, bundle, memory.armed_version),
            live=self._reading,
            interlocks=app.interlocks(configuration, name),
            self_check=self._condition,
            stop_file=places.stop_file(configuration.file.agent),
            assets=self._assets,
        )
        feedback = Feedback(name, config, self.ledger, self.clock)
        loop = Loop(
            name=name,
            perceive=Windows(),
            diagnose=diagnoser,
            decide=Decider(app.policy(configuration, name), name),
            execute=executor,
            feedback=feedback,
            watch=partial(self._watch, name),
        )
        runner = Runner(loop=loop, clock=self.clock, health=self.health, executor=executor, after_round=partial(self._after_round, name))
        await self._append("model", {"event": "admitted", "model": bundle.id, "hash": bundle.hash, "signed_by": bundle.signed_by}, name)
        return Live(
            runner=runner,
            diagnoser=diagnoser,
            executor=executor,
            feedback=feedback,
            memory=memory,
            modes=modes,
            mode=modes.mode,
            version=app.version(bundle),
        )

    def _restore(self, name: str, diagnoser: Diagnoser, model_hash: str, memory: Memory) -> None:
        if memory.model != model_hash:
            memory.model, memory.baseline = model_hash, None
        if memory.baseline is not None:
            try:
                diagnoser.restore_baseline(memory.baseline)
            except ValueError as e:
                memory.baseline = None
                _log.warning("%s", e)

    def _lockout(self, name: str) -> str | None:
        """Why the loop was locked out when the agent last ran; a restart does not lift it."""
        with Reader(places.ledger(self.configuration.file.agent)) as reader:
            last = reader.newest(1, "mode", name)
        return str(last[0].payload.get("reason")) if last and last[0].payload.get("to") == Mode.LOCKOUT else None

    async def _end_loops(self, names: list[str], reason: str) -> None:
        """Let loops shed side by side, then take them out."""
        ending = [self.loops[name] for name in names if name in self.loops]
        for live in ending:
            live.runner.end(reason)
        try:
            async with asyncio.timeout(_END_S):
                for live in ending:
                    await live.runner.ended.wait()
        except TimeoutError:
            _log.error("a loop did not end within %g s; it is cancelled", _END_S)
        for name in names:
            await self.supervisor.stop(f"loop {name}")
            self.perceiver.remove(name)
            self._record(["end", name])
            self.loops.pop(name, None)

    # ------------------------------------------------------------ what the parts call

    def _put(self, window: Window) -> None:
        live = self.loops.get(window.loop)
        if live is not None:
            live.runner.loop.perceive.put(window)

    def _record(self, frame: Frame) -> None:
        if self.recorder is not None:
            self.recorder.put(frame)

    def _round_done(self) -> None:
        self.health.progress("pump")
        if self.vitals.beat():
            _log.warning("the wall clock was set; writing waits for a minute")
            self.ledger.append_many([Line("agent", {"event": "clock stepped", "mono_ns": self.clock.mono_ns()})])

    def _watch(self, name: str, turn: Turn) -> None:
        self.loops[name].runner.watch(turn)
        self._record(recording.turn_frame(turn.situation, turn.decision))

    async def _after_round(self, name: str) -> None:
        """Arm again what a restart disarmed, where the configuration says so; remember what a restart must not forget."""
        live = self.loops[name]
        await self._rearm(name, live)
        baseline, mode = live.diagnoser.baseline(), live.modes.mode
        if mode is live.mode and (baseline is None) == (live.memory.baseline is None):
            return
        live.memory.baseline = baseline
        if mode is not live.mode:
            self._remember_mode(name, live, mode)
        try:
            await asyncio.to_thread(self.memories.save, name, live.memory)
        except OSError as e:
            _log.error("loop %s: what it must remember cannot be saved: %s", name, e)

    def _remember_mode(self, name: str, live: Live, mode: Mode) -> None:
        _log.info("loop %s: %s -> %s: %s", name, live.mode, mode, live.modes.reason)
        live.mode = mode
        if mode is Mode.ARMED:
            live.memory.armed_version = live.version
            live.memory.armed_until_ns = self.clock.wall_ns() + (live.modes.until_ns or 0) - self.clock.mono_ns()
        elif mode not in (Mode.HOLD, Mode.SHED) and not self.ended.is_set():
            live.memory.armed_until_ns = None

    async def _rearm(self, name: str, live: Live) -> None:
        until_ns, now_ns = live.memory.armed_until_ns, self.clock.wall_ns()
        config = self.configuration.file.loops[name]
        if config.rearm != "auto" or until_ns is None or until_ns <= now_ns or live.modes.mode not in (Mode.OBSERVE, Mode.ADVISE):
            return
        if live.executor.good_windows < _REARM_WINDOWS or self.clock.mono_ns() < live.rearm_after_ns:
            return
        live.rearm_after_ns = self.clock.mono_ns() + _REARM_PAUSE_NS
        left_s = (until_ns - now_ns) / 1e9
        against = await live.executor.arm(by="agent", reason="armed before the restart", for_s=left_s, event="rearm")
        if against:
            _log.info("loop %s cannot be armed again yet: %s", name, "; ".join(f"{f.guard}: {f.why}" for f in against))

    def _reading(self, tag: str) -> Reading:
        return self.perceiver.reading(tag, self.clock.mono_ns())

    def _readings(self, loop: str) -> Mapping[str, Reading]:
        return self.perceiver.live(self.perceiver.views[loop], self.clock.mono_ns())

    def _condition(self) -> Condition:
        epoch = self.ledger.epoch  # one ledger, one writer: its lock sees to it that nobody newer can exist beside us
        vitals = self.vitals
        return Condition(
            clock_stepped=vitals.clock_stepped, jitter_s=vitals.jitter_s, disk_free=vitals.disk_free, epoch=epoch, newest_epoch=epoch
        )

    # ------------------------------------------------------------ small matters

    def note_relearn(self, name: str) -> None:
        """The loop learns a new baseline from here on; a replay has to know."""
        self.loops[name].memory.baseline = None
        self._record(["relearn", name])

    def page(self) -> dict[str, Any]:
        """For `edge-agent status`."""
        return status.page(
            configuration=self.configuration,
            clock=self.clock,
            started_ns=self.started_ns,
            health=self.health,
            vitals=self.vitals,
            inbox=self.inbox,
            perceiver=self.perceiver,
            connectors=self.connectors,
            runners={name: live.runner for name, live in self.loops.items()},
            loops={name: self._loop_page(live) for name, live in self.loops.items()},
            refused=self.refused,
            ledger=self.ledger.status(),
            worker=self.runtime.status(),
            recording={"path": str(self.recorder.path), "frames": self.recorder.frames, "failed": self.recorder.failed}
            if self.recorder
            else {},
            parts=self.supervisor.status(),
        )

    def _loop_page(self, live: Live) -> dict[str, Any]:
        return {"model": live.diagnoser.model, "execute": live.executor.status(), "feedback": live.feedback.status()}

    def _new_tags(self, change: reload.Change) -> None:
        rules = app.tag_rules(self.configuration, self.configuration.file.loops)
        tags = self.perceiver.intake.tags
        for name in change.gone_tags:
            tags.pop(name, None)
        for name in change.tags:
            tags[name] = TagState(rules[name])

    def _recorded(self) -> frozenset[str]:
        return frozenset(name for name, tag in self.configuration.tags.items() if tag.record)

    def _recorder(self, path: Path, wall_ns: int, mono_ns: int) -> Recorder:
        agent = self.configuration.file.agent.name
        return Recorder(path, {"agent": agent, "config_hash": self.configuration.hash, "wall_ns": wall_ns, "mono_ns": mono_ns})

    async def _note_config(self) -> None:
        await self._append("config", {"event": "loaded", "hash": self.configuration.hash, "path": str(self.configuration.path)}, None)

    async def _append(self, kind: str, payload: dict[str, Any], loop: str | None) -> None:
        try:
            await self.ledger.append(kind, payload, loop=loop)
        except LedgerError as e:
            _log.error("not on record: %s %s: %s", kind, payload.get("event"), e)
