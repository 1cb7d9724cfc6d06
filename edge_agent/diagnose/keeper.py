"""Keeps one worker process alive with every graph loaded, gives it one trip of requests at a time, and ends it when it is late."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edge_agent.diagnose import batch, handoff
from edge_agent.diagnose.backoff import Backoff
from edge_agent.diagnose.batch import Arrays, Request
from edge_agent.diagnose.graph import Graph
from edge_agent.diagnose.handoff import DONE, LOAD, READY, RUN, UNLOAD
from edge_agent.diagnose.process import WorkerProcess
from edge_agent.errors import ModelRefused

_START_S, _LOAD_S = 30.0, 30.0


class Killed(RuntimeError):
    """The worker was killed from outside: that says nothing about a model."""


class LoadKilled(ModelRefused):
    """It was killed while it loaded this one."""


@dataclass(slots=True)
class _Turn:
    """The one trip that the worker is busy with."""

    number: int
    graph: Graph
    requests: list[Request]
    timer: asyncio.TimerHandle


class Keeper:
    """A state machine driven by the event loop: starting -> loading each graph -> up -> (late, crashed) -> starting."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._graphs: list[Graph] = []
        self._process: WorkerProcess | None = None
        self._past: list[WorkerProcess] = []
        self._up = False  # READY, and nothing is being loaded
        self._turn: _Turn | None = None
        self._waiting: dict[Graph, deque[Request]] = {}  # in the order in which the graphs take turns
        self._todo: deque[Graph] = deque()
        self._loading: Graph | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._own = Backoff()
        self._number = 0
        self._closed = False
        self.protections = ""
        self.starts = self.crashes = self.late = self.trips = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid if self._process else None

    @property
    def waiting(self) -> int:
        """Requests that the worker has not seen yet; each comes from a loop that waits for it, so there are never more than loops."""
        return sum(map(len, self._waiting.values()))

    # ------------------------------------------------------------ what the runtime asks for

    async def load(self, graph: Graph) -> None:
        """Load one more graph. ModelRefused, TimeoutError."""
        self._graphs.append(graph)
        graph.waiter = self._loop.create_future()
        if self._process is None and self._timer is None:
            self._start()
        else:
            self._todo.append(graph)
            self._next()
        try:
            async with asyncio.timeout(_START_S + _LOAD_S):
                await graph.waiter
        except TimeoutError:
            raise TimeoutError(f"{graph.name}: waited {_START_S + _LOAD_S:.3g} s for the worker, which was {self._doing()}") from None
        finally:
            graph.waiter = None

    def unload(self, graph: Graph) -> None:
        """Forget a graph."""
        if graph in self._graphs:
            self._graphs.remove(graph)
            os.close(graph.tensors)
        if graph in self._todo:
            self._todo.remove(graph)
        self._fail(graph, RuntimeError(f"{graph.name}: was unloaded"))
        if self._process and graph.loaded:
            self._send((UNLOAD, graph.slot, 0, 0))

    async def run(self, graph: Graph, feeds: Mapping[str, NDArray[Any]], windows: int, timeout_s: float) -> Arrays:
        """TimeoutError when late, RuntimeError when it failed."""
        self._refuse_aside(graph)
        request = Request(
            feeds=feeds, batch=windows, timeout_s=timeout_s, deadline=self._loop.time() + timeout_s, answer=self._loop.create_future()
        )
        self._waiting.setdefault(graph, deque()).append(request)
        self._next()
        if self._turn is None or request not in self._turn.requests:
            request.watch(self._loop, self._expired, graph)
        try:
            return await request.answer
        finally:
            if request.timer:
                request.timer.cancel()

    async def close(self) -> None:
        """End the worker and wait until it is gone."""
        self._closed = True
        self._fall(RuntimeError("the worker is shutting down"))
        for process in self._past:
            await asyncio.wait_for(process.gone(), 10)
        for graph in list(self._graphs):
            self.unload(graph)

    # ------------------------------------------------------------ whose turn it is

    def _next(self) -> None:
        """Give the worker its next trip, if it is free. The graphs take turns; a graph's requests go in the order they came."""
        while self._up and self._turn is None:
            if self._todo:
                self._load_next()
            elif not self._waiting:
                return
            else:
                self._begin(next(iter(self._waiting)))

    def _begin(self, graph: Graph) -> None:
        if not graph.loaded:
            self._todo.append(graph)
            return
        queue = self._waiting.pop(graph)
        requests = batch.take(queue, room=graph.room, window_ns=graph.window_ns, now=self._loop.time())
        if requests and not self._leave(graph, requests):
            queue.extendleft(reversed(requests))
        if queue:
            self._waiting[graph] = queue

    def _leave(self, graph: Graph, requests: list[Request]) -> bool:
        """Send them off; False if the worker had died idle: `ended` starts another, which gets them."""
        start = 0
        for request in requests:
            for name, array in request.feeds.items():
                graph.inputs[name][start : start + request.batch] = array
            start += request.batch
        self._number += 1
        if not self._send((RUN, graph.slot, self._number, start), cuts=batch.cuts(requests, shared=graph.shared)):
            self._up = False
            return False
        latest = max(request.deadline for request in requests)
        for request in requests:
            if request.timer and request.deadline == latest:
                request.timer.cancel()
        self._turn = _Turn(self._number, graph, requests, self._loop.call_at(latest, self._is_late))
        self.trips += 1
        return True

    def _expired(self, graph: Graph, request: Request) -> None:
        """Its own deadline has passed, while it waited or in the company of others."""
        if not request.answer.done():
            graph.missed += 1
            said = f"{graph.name}: waited {request.timeout_s:.3g} s for the worker, which was {self._doing()}"
            request.answer.set_exception(TimeoutError(said))

    def _doing(self) -> str:
        if self._turn:
            return f"busy with {self._turn.graph.name}"
        if self._up:
            return "busy"
        return f"loading {self._loading.name}" if self._loading else "starting"

    def _refuse_aside(self, graph: Graph) -> None:
        left = graph.backoff.until - self._loop.time()
        if left > 0:
            raise RuntimeError(f"{graph.name}: stands aside for {left:.1f} s after {graph.backoff.strikes} failures ({graph.last_error})")

    def _fail(self, graph: Graph, error: Exception) -> None:
        """Whoever waits for this graph waits in vain."""
        for request in self._waiting.pop(graph, ()):
            if not request.answer.done():
                request.answer.set_exception(error)

    # ------------------------------------------------------------ starting and loading

    def _start(self) -> None:
        self._timer = None
        self.starts += 1
        self._process = WorkerProcess(self, self._memory)
        self._todo = deque(g for g in self._graphs if g.wanted or g.waiter)
        self._watch(_START_S, "the worker did not start")

    def _load_next(self) -> None:
        self._unwatch()
        self._up = False
        self._loading = self._todo.popleft() if self._todo else None
        if self._loading is None:
            self._up = True
            self._next()
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
        if how == DONE:
            if graph.waiter and not graph.waiter.done():
                graph.waiter.set_result(None)
        else:
            graph.last_error = text
            self._not_loaded(graph, f"the runtime does not take it: {text}")
        self._load_next()

    def _not_loaded(self, graph: Graph, why: str, refusal: type[ModelRefused] = ModelRefused) -> None:
        if graph.waiter and not graph.waiter.done():
            graph.waiter.set_exception(refusal(f"{graph.name}: {why}"))
        self._fail(graph, RuntimeError(f"{graph.name}: {why}"))

    def _watch(self, seconds: float, what: str) -> None:
        self._unwatch()
        self._timer = self._loop.call_later(seconds, lambda: self._fall(TimeoutError(f"{what} within {seconds:g} s")))

    def _unwatch(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _send(self, header: tuple[int, int, int, int], descriptors: tuple[int, ...] = (), cuts: Sequence[int] = ()) -> bool:
        """False if the worker is dead: `ended` follows, and says so to whoever waits."""
        try:
            if self._process:
                self._process.send(header, descriptors, cuts)
        except OSError:
            return False
        return self._process is not None

    # ------------------------------------------------------------ what the worker says

    def replied(self, how: int, number: int, spent_ns: int, text: str) -> None:
        """A message of the worker."""
        turn = self._turn
        if turn and number == turn.number:
            turn.timer.cancel()
            self._turn = None
            if how == DONE:
                self._answer(turn, spent_ns)
            else:
                self._failed(turn, text)
            self._next()
        elif how == READY:
            self.protections = text
            self._load_next()
        elif self._loading and number == self._number:
            self._loaded(how, text)

    def _answer(self, turn: _Turn, spent_ns: int) -> None:
        graph, start = turn.graph, 0
        graph.backoff.well()
        self._own.well()
        for request in turn.requests:
            rows = slice(start, start + request.batch)
            start += request.batch
            if not request.answer.done():
                request.answer.set_result({name: view[rows].copy() for name, view in graph.outputs.items()})
        graph.spent(spent_ns, start)
        graph.runs += len(turn.requests)

    def _failed(self, turn: _Turn, text: str) -> None:
        """One window may have spoilt it for all: each gets a run of its own before it counts."""
        graph = turn.graph
        if len(turn.requests) > 1:
            for request in turn.requests:
                request.alone = True
                request.watch(self._loop, self._expired, graph)
            self._waiting.setdefault(graph, deque()).extendleft(reversed(turn.requests))
            return
        graph.runs += 1
        graph.failures, graph.last_error = graph.failures + 1, text
        if not turn.requests[0].answer.done():
            turn.requests[0].answer.set_exception(RuntimeError(f"{graph.name}: {text}"))

    def ended(self, why: str, *, killed: bool) -> None:
        """The worker died, not by our hand."""
        self.crashes += 1
        self._fall(Killed(f"the worker {why}") if killed else RuntimeError(f"the worker {why}"))

    def _is_late(self) -> None:
        self.late += 1
        self._fall(TimeoutError("the worker was killed"))

    # ------------------------------------------------------------ falling and getting up

    def _fall(self, error: Exception) -> None:
        """Kill what is left of the worker, tell whoever waits, count it against the culprit, start again."""
        self._unwatch()
        self._retire()
        turn, loading = self._turn, self._loading
        self._turn = self._loading = None
        for graph in self._graphs:
            graph.loaded = False
        if turn:
            turn.timer.cancel()
            error = self._spoilt(turn, error)
        pause = self._blame(turn.graph if turn else loading, error, loading=loading)
        if not self._closed:
            self._timer = self._loop.call_later(pause, self._start)
        if loading:
            self._not_loaded(loading, f"loading it ended the worker: {error}", LoadKilled if isinstance(error, Killed) else ModelRefused)
        for graph in list(self._waiting) if self._closed else []:
            self._fail(graph, RuntimeError(f"{graph.name}: {error}"))

    def _spoilt(self, turn: _Turn, error: Exception) -> Exception:
        """Tell the requests that were under way; what to remember of it."""
        for request in turn.requests:
            if not request.answer.done():
                late = f"no answer within {request.timeout_s:.3g} s; " if isinstance(error, TimeoutError) else ""
                turn.graph.missed += bool(late)
                request.answer.set_exception(type(error)(f"{turn.graph.name}: {late}{error}"))
        return type(error)(f"no answer in time; {error}") if isinstance(error, TimeoutError) else error

    def _blame(self, culprit: Graph | None, error: Exception, *, loading: Graph | None) -> float:
        """Seconds until the next start."""
        if culprit is None:
            return self._own.strike(self._loop.time())
        culprit.backoff.strike(self._loop.time())
        culprit.failures, culprit.last_error = culprit.failures + 1, str(error)
        culprit.wanted = culprit is not loading
        return 0.0

    def _retire(self) -> None:
        self._up = False
        if self._process:
            self._process.kill()
            self._past = [p for p in self._past if not p.reaped] + [self._process]
            self._process = None
