"""Keeps one worker process alive with every graph loaded, gives it one request at a time, and ends it when it is late."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import handoff
from edge_agent.diagnose.backoff import Backoff
from edge_agent.diagnose.handoff import DONE, LOAD, READY, RUN, UNLOAD
from edge_agent.diagnose.process import WorkerProcess
from edge_agent.errors import ModelRefused

Arrays = dict[str, NDArray[np.float32]]

_START_S, _LOAD_S = 30.0, 30.0


@dataclass(slots=True, kw_only=True, eq=False)
class Graph:
    """One loaded graph: its bytes, its shared memory, its record."""

    name: str
    slot: int
    model: bytes = field(repr=False)
    specification: bytes = field(repr=False)
    tensors: int  # descriptor of the shared memory
    inputs: Arrays = field(repr=False)
    outputs: Arrays = field(repr=False)
    backoff: Backoff = field(default_factory=Backoff)
    loaded: bool = False
    wanted: bool = False  # it was loaded once: a new worker loads it again, unless loading it is what ended the last one
    waiter: asyncio.Future[None] | None = None
    runs: int = 0
    failures: int = 0
    spent_ns: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Turn:
    """The one run that the worker is busy with."""

    number: int
    graph: Graph
    batch: int
    answer: asyncio.Future[Arrays]
    timer: asyncio.TimerHandle


class Keeper:
    """A state machine driven by the event loop: starting -> loading each graph -> up -> (late, crashed) -> starting."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._graphs: list[Graph] = []
        self._process: WorkerProcess | None = None
        self._past: list[WorkerProcess] = []
        self._lock = asyncio.Lock()  # held from a request until its reply, or until the worker that owes it is dead
        self._up = asyncio.Event()
        self._turn: _Turn | None = None
        self._todo: deque[Graph] = deque()
        self._loading: Graph | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._own = Backoff()
        self._number = 0
        self._closed = False
        self.protections = ""
        self.starts = self.crashes = self.late = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid if self._process else None

    # ------------------------------------------------------------ what the runtime asks for

    async def load(self, graph: Graph) -> None:
        """Load one more graph. ModelRefused, TimeoutError."""
        self._graphs.append(graph)
        if self._process is None and self._timer is None:
            self._start()
        await self._my_turn(graph, _START_S + _LOAD_S)
        self._lock.release()

    def unload(self, graph: Graph) -> None:
        """Forget a graph."""
        if graph in self._graphs:
            self._graphs.remove(graph)
            os.close(graph.tensors)
        if self._process and graph.loaded:
            self._send((UNLOAD, graph.slot, 0, 0))

    async def run(self, graph: Graph, feeds: Mapping[str, NDArray[np.float32]], batch: int, timeout_s: float) -> Arrays:
        """TimeoutError when late, RuntimeError when it failed."""
        self._refuse_aside(graph)
        deadline = self._loop.time() + timeout_s
        while True:
            if self._lock.locked() or not graph.loaded or not self._up.is_set():
                await self._my_turn(graph, deadline - self._loop.time())
            else:
                await self._lock.acquire()  # free: does not yield
            for name, array in feeds.items():
                graph.inputs[name][:batch] = array
            self._number += 1
            if self._send((RUN, graph.slot, self._number, batch)):
                break
            self._up.clear()  # it had died idle and never saw the request: `ended` starts another, which gets it
            self._lock.release()
        answer: asyncio.Future[Arrays] = self._loop.create_future()
        timer = self._loop.call_at(deadline, self._is_late, timeout_s)
        self._turn = _Turn(self._number, graph, batch, answer, timer)
        return await answer

    async def close(self) -> None:
        """End the worker and wait until it is gone."""
        self._closed = True
        self._fall(RuntimeError("the worker is shutting down"))
        for process in self._past:
            await asyncio.wait_for(process.gone(), 10)
        for graph in list(self._graphs):
            self.unload(graph)

    # ------------------------------------------------------------ waiting for the worker

    async def _my_turn(self, graph: Graph, timeout_s: float) -> None:
        """Hold the lock with the worker up and the graph loaded."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._lock.acquire()
                try:
                    await self._up.wait()
                    if not graph.loaded:
                        await self._bring(graph)
                except BaseException:
                    self._lock.release()
                    raise
        except TimeoutError:
            raise TimeoutError(f"{graph.name}: waited {timeout_s:.3g} s for the worker, which was {self._doing()}") from None

    def _doing(self) -> str:
        if self._turn:
            return f"busy with {self._turn.graph.name}"
        if self._up.is_set():
            return "busy"
        return f"loading {self._loading.name}" if self._loading else "starting"

    def _refuse_aside(self, graph: Graph) -> None:
        left = graph.backoff.until - self._loop.time()
        if left > 0:
            raise RuntimeError(f"{graph.name}: stands aside for {left:.1f} s after {graph.backoff.strikes} failures ({graph.last_error})")

    # ------------------------------------------------------------ starting and loading

    def _start(self) -> None:
        self._timer = None
        self.starts += 1
        self._process = WorkerProcess(self, self._memory)
        self._todo = deque(g for g in self._graphs if g.wanted or g.waiter)
        self._watch(_START_S, "the worker did not start")

    async def _bring(self, graph: Graph) -> None:
        graph.waiter = self._loop.create_future()
        self._todo.append(graph)
        self._up.clear()
        self._load_next()
        try:
            await graph.waiter
        finally:
            graph.waiter = None

    def _load_next(self) -> None:
        self._unwatch()
        self._loading = self._todo.popleft() if self._todo else None
        if self._loading is None:
            self._up.set()
            return
        graph = self._loading
        self._number += 1
        specification, model = handoff.sealed(graph.specification), handoff.sealed(graph.model)
        try:
            self._send((LOAD, graph.slot, self._number, 1), (specification, model, graph.tensors))
        finally:
            os.close(specification)
            os.close(model)
        self._watch(_LOAD_S, f"{graph.name} did not load")

    def _loaded(self, how: int, text: str) -> None:
        graph = self._loading
        if graph is None:
            return
        graph.loaded = graph.wanted = how == DONE
        waiter = graph.waiter
        if waiter and not waiter.done():
            if how == DONE:
                waiter.set_result(None)
            else:
                waiter.set_exception(ModelRefused(f"{graph.name}: the runtime does not take it: {text}"))
        graph.last_error = text if how != DONE else graph.last_error
        self._load_next()

    def _watch(self, seconds: float, what: str) -> None:
        self._unwatch()
        self._timer = self._loop.call_later(seconds, lambda: self._fall(TimeoutError(f"{what} within {seconds:g} s")))

    def _unwatch(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _send(self, header: tuple[int, int, int, int], descriptors: tuple[int, ...] = ()) -> bool:
        """False if the worker is dead: `ended` follows, and says so to whoever waits."""
        try:
            if self._process:
                self._process.send(header, descriptors)
        except OSError:
            return False
        return self._process is not None

    # ------------------------------------------------------------ what the worker says

    def replied(self, how: int, number: int, spent_ns: int, text: str) -> None:
        """A message of the worker."""
        turn = self._turn
        if turn and number == turn.number:
            self._answer(turn, how, spent_ns, text)
        elif how == READY:
            self.protections = text
            self._load_next()
        elif self._loading and number == self._number:
            self._loaded(how, text)

    def _answer(self, turn: _Turn, how: int, spent_ns: int, text: str) -> None:
        turn.timer.cancel()
        self._turn = None
        graph = turn.graph
        graph.runs += 1
        graph.spent_ns += spent_ns
        if how == DONE:
            graph.backoff.well()
            self._own.well()
            if not turn.answer.done():
                turn.answer.set_result({name: view[: turn.batch].copy() for name, view in graph.outputs.items()})
        else:
            graph.failures, graph.last_error = graph.failures + 1, text
            if not turn.answer.done():
                turn.answer.set_exception(RuntimeError(f"{graph.name}: {text}"))
        self._lock.release()

    def ended(self, why: str) -> None:
        """The worker died by itself."""
        self.crashes += 1
        self._fall(RuntimeError(f"the worker {why}"))

    def _is_late(self, timeout_s: float) -> None:
        self.late += 1
        self._fall(TimeoutError(f"no answer within {timeout_s:.3g} s; the worker was killed"))

    # ------------------------------------------------------------ falling and getting up

    def _fall(self, error: Exception) -> None:
        """Kill what is left of the worker, tell whoever waits, count it against the culprit, start again."""
        self._unwatch()
        self._retire()
        turn, loading = self._turn, self._loading
        self._turn = self._loading = None
        culprit = turn.graph if turn else loading
        for graph in self._graphs:
            graph.loaded = False
        pause = 0.0
        if culprit:
            culprit.backoff.strike(self._loop.time())
            culprit.failures, culprit.last_error = culprit.failures + 1, str(error)
            culprit.wanted = culprit is not loading
        else:
            pause = self._own.strike(self._loop.time())
        if not self._closed:
            self._timer = self._loop.call_later(pause, self._start)
        if loading and loading.waiter and not loading.waiter.done():
            loading.waiter.set_exception(ModelRefused(f"{loading.name}: loading it ended the worker: {error}"))
        if turn:
            turn.timer.cancel()
            if not turn.answer.done():
                turn.answer.set_exception(type(error)(f"{turn.graph.name}: {error}"))
            self._lock.release()

    def _retire(self) -> None:
        self._up.clear()
        if self._process:
            self._process.kill()
            self._past = [p for p in self._past if not p.reaped] + [self._process]
            self._process = None
