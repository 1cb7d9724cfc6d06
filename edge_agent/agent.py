"""The control process: which parts run, in which order they start, and what happens when the configuration changes?"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_agent import app, choice, control, places, recording, reload, status
from edge_agent.choice import Choice
from edge_agent.clock import Clock
from edge_agent.config.load import Configuration
from edge_agent.config.model import Loop as Configured
from edge_agent.contracts import Asked, Connector
from edge_agent.decide.link import Decider
from edge_agent.decide.modes import Modes
from edge_agent.diagnose.worker import WorkerRuntime
from edge_agent.errors import EdgeAgentError, LedgerError, PlantError
from edge_agent.execute.actuator import Assets
from edge_agent.execute.executor import Executor
from edge_agent.execute.station import Health as Condition
from edge_agent.execute.terms import bounds_of
from edge_agent.feedback import known, past
from edge_agent.feedback.backlog import Backlog
from edge_agent.feedback.ledger import Ledger, Line
from edge_agent.feedback.link import Feedback
from edge_agent.feedback.past import Past
from edge_agent.health import Health
from edge_agent.inbox import Inbox
from edge_agent.loop import Loop, Turn
from edge_agent.loops import Runner, patience_s
from edge_agent.memory import Memories, Memory
from edge_agent.messages import LinkState, Mode, Reading, Window
from edge_agent.perceive.intake import Intake, TagState
from edge_agent.perceive.link import Perceiver
from edge_agent.pump import TICK_S, Pump
from edge_agent.rearm import Standing
from edge_agent.recording import Frame, Recorder
from edge_agent.supervisor import Supervisor
from edge_agent.vitals import Vitals
from edge_agent.windows import Windows

_log = logging.getLogger(__name__)
_DRAIN_S = 5.0
_END_S = 40.0  # the longest that the loops may take to shed; below TimeoutStopSec in systemd/


@dataclass(slots=True, kw_only=True)
class Live:
    """One loop as it runs."""

    runner: Runner
    diagnoser: Asked
    decider: Decider
    executor: Executor
    feedback: Feedback
    modes: Modes
    standing: Standing
    chosen: Choice


def _bound(config: Configured) -> int:
    """How many windows may wait: every part has its turn, but of pictures without a part only the newest is worth one."""
    if config.perceive.part is not None:
        return 64
    return 1 if config.perceive.every is None and config.perceive.follow is None and config.perceive.window == 1 else 8


class Agent:
    """Everything of one configuration, alive. `run` starts it and returns when `stop` was called and all has shed."""

    def __init__(
        self, configuration: Configuration, *, clock: Clock, record: Path | None = None, runtime: app.LoadingRuntime | None = None
    ) -> None:
        """`record`: a new file for a recording; `runtime`: what runs the models, unset: a worker process."""
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
        self.runtime = runtime or WorkerRuntime(app.opener(configuration))
        self.recorder = self._recorder(record, wall_ns, mono_ns) if record else None
        self._assets = Assets()
        self._backlog = Backlog()
        self._changing = asyncio.Lock()
        self._pump = Pump(
            inbox=self.inbox,
            perceiver=self.perceiver,
            ledger=self.ledger,
            clock=clock,
            put=self._put,
            record=self._record if self.recorder else None,
            linked=self._linked,
            round_done=self._round_done,
        )

    # ------------------------------------------------------------ life

    async def run(self, handlers: Mapping[str, control.Handler]) -> None:
        """Start in this order: ledger, control socket, pump, connectors, loops; stop in the reverse."""
        socket = app.socket(self.configuration)
        places.make(self.state)
        await asyncio.to_thread(self.ledger.start)
        try:
            await self._note_config()
            async with self.supervisor as supervisor:
                supervisor.start("control socket", partial(control.serve, socket, handlers))
                self.health.expect("pump", 10.0)
                self._pump.recorded_tags = self._recorded()
                if self._pump.recorded_tags:
                    self._pump.on_disk = await asyncio.to_thread(known.samples, places.ledger(self.configuration.file.agent))
                supervisor.start("pump", self._pump.run)
                supervisor.start("feedback", self._backlog.run)
                for name in self.configuration.connectors:
                    self._start_connector(name, app.connector(self.configuration, name, clock=self.clock, state=self.state))
                for name in self.configuration.file.loops:
                    if not self.ended.is_set():
                        await self._start_loop(name)
                self.ready.set()
                if self.loops or not self.refused:
                    await self.ended.wait()
                async with self._changing:
                    await self._end_loops(list(self.loops), "the agent stops")
                await self._drain()
        finally:
            await self.runtime.close()
            if self.recorder:
                await asyncio.to_thread(self.recorder.close)
            await asyncio.to_thread(self.ledger.close)

    def stop(self) -> None:
        """Shed and end."""
        self.ended.set()

    async def apply(self, new: Configuration) -> reload.Change:
        """Change over to a new configuration: only what differs is stopped and started. A loop whose model was changed on
        disk differs too, and a refused one is tried again."""
        async with self._changing:
            change = reload.change(self.configuration, new, again=await asyncio.to_thread(self._other_models, new))
            if not change.needs_restart and not self.ended.is_set():
                await self._change_over(new, change)
            return change

    async def _change_over(self, new: Configuration, change: reload.Change) -> None:
        fresh = {name: app.connector(new, name, clock=self.clock, state=self.state) for name in sorted(change.start_connectors)}
        if not change.empty:
            await self._end_recording()
        await self._end_loops(sorted(change.stop_loops), "its configuration changed")
        for name in sorted(change.stop_connectors):
            await self.supervisor.stop(f"connector {name}")
            self.connectors.pop(name, None)
        self.configuration = new
        self.ledger.share(app.shares(new))
        self._new_tags(change)
        for name, connector in fresh.items():
            self._start_connector(name, connector)
        for name in self.refused.keys() - new.file.loops.keys():
            del self.refused[name]
        for name in sorted(change.start_loops):
            await self._start_loop(name)
        self._pump.recorded_tags = self._recorded()
        await self._note_config()

    # ------------------------------------------------------------ parts

    def _start_connector(self, name: str, connector: Connector) -> None:
        self.connectors[name] = connector
        self.supervisor.start(f"connector {name}", partial(self._connect, name, connector))

    async def _connect(self, name: str, connector: Connector) -> None:
        """Run a connector. However it ends, its link is down then; it has no business ending by itself."""
        try:
            await connector.run(self.inbox.of(name))
            raise PlantError(f"connectors.{name}: it ended by itself")
        finally:
            self.inbox.link(LinkState(connector=name, state="down", reason="the connector has ended", mono_ns=self.clock.mono_ns()))

    async def _start_loop(self, name: str) -> None:
        """Build and start a loop. A model that is refused stops this loop only."""
        self.refused.pop(name, None)
        try:
            live = await self._build(name)
        except EdgeAgentError as e:
            self.refused[name] = str(e)
            _log.error("loop %s does not run: %s", name, e)
            await self._append("model", {"event": "refused", "why": str(e)}, name)
            return
        self.loops[name] = live
        self.started_loops += 1
        self._record(["start", name])
        if live.standing.memory.baseline is not None:
            self._record(["baseline", name, live.standing.memory.baseline])
        self.perceiver.add(app.view(self.configuration, name, partial(self._readings, name)))
        self.supervisor.start(f"loop {name}", live.runner.run)

    async def _build(self, name: str) -> Live:
        configuration, config = self.configuration, self.configuration.file.loops[name]
        chosen = await choice.choose(configuration, name, self.runtime, self.clock.mono_ns)
        diagnoser = chosen.diagnoser
        memory = self.memories.load(name)
        self._restore(name, diagnoser, memory)
        before = await self._past(name) if config.tier else Past()
        bounds = bounds_of(config, configuration.file.ledger.min_free)
        modes = Modes(
            loop=name,
            highest=Mode(config.mode),
            tier=config.tier,
            rearm=config.rearm,
            good_windows=bounds.good_windows,
            locked=before.locked,
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
            card=choice.terms(configuration, name, chosen, memory.armed_version),
            live=self._reading,
            interlocks=app.interlocks(configuration, name),
            self_check=self._condition,
            stop_file=places.stop_file(configuration.file.agent),
            bounds=bounds,
            assets=self._assets,
            left=before.left,
        )
        lossy = any(bundle.card.picture is not None and bundle.card.picture.keep == "jpeg" for bundle in chosen.bundles)
        feedback = Feedback(name, config, self.ledger, self.clock, self._backlog, lossy=lossy)
        decider = Decider(app.policy(configuration, name), name)
        loop = Loop(
            name=name,
            perceive=Windows(_bound(config)),
            diagnose=diagnoser,
            decide=decider,
            execute=executor,
            feedback=feedback,
            watch=partial(self._watch, name),
        )
        runner = Runner(
            loop=loop,
            clock=self.clock,
            health=self.health,
            executor=executor,
            after_round=partial(self._after_round, name),
            at_rest=partial(self._at_rest, name),
            patience_s=patience_s(config),
        )
        standing = Standing(
            loop=name,
            auto=config.rearm == "auto",
            armed_as=app.digest(configuration, name, chosen.digest),
            version=chosen.version,
            memory=memory,
            memories=self.memories,
            modes=modes,
            executor=executor,
            clock=self.clock,
            stop_file=places.stop_file(configuration.file.agent),
            ending=self.ended.is_set,
        )
        await standing.begin()
        await self._append("model", chosen.admitted(), name)
        return Live(
            runner=runner,
            diagnoser=diagnoser,
            decider=decider,
            executor=executor,
            feedback=feedback,
            modes=modes,
            standing=standing,
            chosen=chosen,
        )

    def _restore(self, name: str, diagnoser: Asked, memory: Memory) -> None:
        if memory.model != diagnoser.model_hash:
            memory.model, memory.baseline = diagnoser.model_hash, None
        if memory.baseline is not None:
            try:
                diagnoser.restore_baseline(memory.baseline)
            except ValueError as e:
                memory.baseline = None
                _log.warning("%s", e)

    async def _past(self, name: str) -> Past:
        """What the last run left behind: a lockout stands, an intent that nobody saw the end of gets its outcome now."""
        try:
            found = await asyncio.to_thread(past.read, places.ledger(self.configuration.file.agent), name)
        except (LedgerError, sqlite3.Error) as e:
            return Past(locked=f"whether it was locked out could not be read at the start: {e}")
        for intent in found.open_intents:
            await self._append("outcome", past.unknown(intent), name)
        return found

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

    async def _drain(self) -> None:
        """What the last turns left behind goes to disk, as long as the disk takes it."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._backlog.drained()
        except TimeoutError:
            _log.error("feedback of the last turns is not on disk: the ledger did not take it within %g s", _DRAIN_S)

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
        if self.recorder is not None:
            self.recorder.put(recording.turn_frame(turn.situation, turn.decision))

    def _linked(self, state: LinkState) -> None:
        """After a link came back, what the devices say of our tags has to be read anew."""
        for live in self.loops.values() if state.state == "up" else ():
            if tags := [tag for tag in live.executor.applied if self.configuration.tags[tag].from_ == state.connector]:
                live.executor.reconnected(tags)

    async def _after_round(self, name: str) -> None:
        live = self.loops[name]
        await live.standing.look(live.diagnoser.baseline())

    def _at_rest(self, name: str) -> bool:
        live = self.loops[name]
        return live.executor.at_rest and live.standing.memory.armed_until_ns is None

    def _reading(self, tag: str) -> Reading:
        return self.perceiver.reading(tag, self.clock.mono_ns())

    def _readings(self, loop: str) -> Mapping[str, Reading]:
        return self.perceiver.live(self.perceiver.views[loop], self._pump.now_ns)  # the recording's time, so that a replay sees the same

    def _condition(self) -> Condition:
        epoch = self.ledger.epoch  # one ledger, one writer: its lock sees to it that nobody newer can exist beside us
        vitals = self.vitals
        return Condition(
            clock_stepped=vitals.clock_stepped, jitter_s=vitals.jitter_s, disk_free=vitals.disk_free, epoch=epoch, newest_epoch=epoch
        )

    # ------------------------------------------------------------ small matters

    async def relearn(self, name: str) -> None:
        """The loop learns a new baseline from here on; a replay has to know, and so has a restart."""
        live = self.loops[name]
        live.diagnoser.relearn()
        self._record(["relearn", name])
        live.standing.memory.baseline = None
        await live.standing.save()

    def page(self) -> dict[str, Any]:
        """For `edge-agent status`."""
        return status.page(
            configuration=self.configuration,
            clock=self.clock,
            started_ns=self.started_ns,
            health=self.health,
            vitals=self.vitals,
            inbox=self.inbox,
            not_recorded=self._pump.not_recorded,
            perceiver=self.perceiver,
            connectors=self.connectors,
            runners={name: live.runner for name, live in self.loops.items()},
            loops={name: self._loop_page(live) for name, live in self.loops.items()},
            refused=self.refused,
            ledger=self.ledger.status(),
            worker=self.runtime.status(),
            recording=self.recorder.status() if self.recorder else {},
            parts=self.supervisor.status(),
        )

    def _loop_page(self, live: Live) -> dict[str, Any]:
        return {
            "model": live.diagnoser.model,
            "diagnose": live.chosen.status(),
            "decide": dict(live.decider.status()),
            "execute": live.executor.status(),
            "feedback": live.feedback.status(),
        }

    def _new_tags(self, change: reload.Change) -> None:
        tags = self.perceiver.intake.tags
        for name in change.gone_tags:
            tags.pop(name, None)
        for name, rules in app.tag_rules(self.configuration, self.configuration.file.loops).items():
            if name in change.tags:
                tags[name] = TagState(rules)
            else:
                tags[name].rules = rules  # a loop may allow another skew

    def _other_models(self, new: Configuration) -> frozenset[str]:
        """Loops that were refused, or whose bundle on disk is no longer the one that runs."""
        running = {name: live.chosen for name, live in self.loops.items() if name in new.file.loops}
        return frozenset({*self.refused, *(name for name, chosen in running.items() if choice.replaced(new, name, chosen))})

    async def _end_recording(self) -> None:
        if self.recorder is not None and not self.recorder.failed:
            self.recorder.failed = f"{self.recorder.path}: the configuration changed; the recording ends here"
            await asyncio.to_thread(self.recorder.close)

    def _recorded(self) -> frozenset[str]:
        return frozenset(name for name, tag in self.configuration.tags.items() if tag.record)

    def _recorder(self, path: Path, wall_ns: int, mono_ns: int) -> Recorder:
        agent = self.configuration.file.agent.name
        loops = list(self.configuration.file.loops)
        head = {"agent": agent, "config_hash": self.configuration.hash, "wall_ns": wall_ns, "mono_ns": mono_ns, "loops": loops}
        return recording.begin(path, head)

    async def _note_config(self) -> None:
        await self._append("config", {"event": "loaded", "hash": self.configuration.hash, "path": str(self.configuration.path)}, None)

    async def _append(self, kind: str, payload: dict[str, Any], loop: str | None) -> None:
        try:
            await self.ledger.append(kind, payload, loop=loop)
        except LedgerError as e:
            _log.error("not on record: %s %s: %s", kind, payload.get("event"), e)
