"""Run graphs in a killable process: a model that is late, crashes or eats memory takes nothing with it but its own answer.

One worker serves every model, one trip at a time. Past its deadline a run is killed with the worker; a new worker starts at once and
loads the models again; the culprit stands aside longer each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.diagnose import batch, golden, handoff
from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose.batch import Arrays
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.graph import Graph
from edge_agent.diagnose.keeper import Keeper, Killed, LoadKilled
from edge_agent.diagnose.runtime import Feeds, Opener, check_feeds, chunks
from edge_agent.diagnose.session import chosen_threads
from edge_agent.errors import ModelRefused

MEMORY = 1 << 30  # bytes of address space that the models may take beyond what the runtime itself needs
_GOLDEN_S = 10.0
_TRIES = 3  # somebody may kill the worker just then: that says nothing about the model
_WARM = 10  # runs before a graph's speed is judged


@dataclass(slots=True, kw_only=True)
class _Model:
    """A bundle as it was loaded."""

    read: Bundle
    graph: Graph
    looks: object  # of its folder, just before it was read
    asked: bool = False  # whether its windows may share runs


class WorkerRuntime:
    """contracts.Runtime in a child process. Use it from one event loop, and `close` it there."""

    def __init__(self, read: Opener, *, memory: int = MEMORY) -> None:
        self._read, self._memory = read, memory
        self._models: dict[Path, _Model] = {}
        self._slots = 0
        self._keeper: Keeper | None = None

    async def load(self, bundle: Path) -> None:
        """Admit here; open, warm up and re-run the golden vectors in the worker. ModelRefused.

        Once for all loops that name it, as long as its folder has not changed; from the second loop on its windows share runs.
        """
        looks, known = bundles.looks(bundle), self._models.get(bundle)
        if known is not None and looks is not None and known.looks == looks:
            await self._share(known)
            return
        read = await asyncio.to_thread(self._read, bundle)
        keeper = self._keeper = self._keeper or Keeper(self._memory)
        for left in reversed(range(_TRIES)):
            try:
                graph = await self._prove(keeper, read)
                break
            except (Killed, LoadKilled) as e:
                if not left:
                    raise ModelRefused(
                        f"{bundle}: the worker was killed {_TRIES} times while it loaded; is there memory enough? {e}"
                    ) from e
            except (TimeoutError, RuntimeError) as e:
                raise ModelRefused(f"{bundle}: its golden vectors cannot be run here: {e}") from e
        if known is not None:
            keeper.unload(known.graph)
        self._models[bundle] = _Model(read=read, graph=graph, looks=looks)

    async def _prove(self, keeper: Keeper, read: Bundle) -> Graph:
        """Load it and re-run its golden vectors."""
        graph = self._graph(read)
        try:
            await keeper.load(graph)
            for inputs, outputs in chunks(read):
                golden.compare(await keeper.run(graph, inputs, check_feeds(read, inputs), _GOLDEN_S), outputs, read.card)
        except BaseException:
            keeper.unload(graph)
            raise
        return graph

    async def _share(self, model: _Model) -> None:
        """Find out, once, whether windows of several loops may share a run. Without the proof they run one by one."""
        keeper, graph = self._keeper, model.graph
        if model.asked or keeper is None:
            return
        model.asked = True

        async def run(feeds: Feeds, size: int) -> Arrays:
            return await keeper.run(graph, feeds, size, _GOLDEN_S)

        with contextlib.suppress(TimeoutError, RuntimeError):
            for _ in range(_WARM):
                await run({name: rows[:1] for name, rows in model.read.golden_inputs.items()}, 1)
            graph.shared = batch.worth(graph.window_ns) and await batch.proven(model.read.golden_inputs, graph.room, run)

    def opened(self, bundle: Path) -> Bundle:
        """The bundle that was loaded from this path."""
        return self._models[bundle].read

    async def run(self, bundle: Path, feeds: Feeds, timeout_s: float) -> Arrays:
        """Named inputs to named outputs. TimeoutError when late, RuntimeError when it failed, ValueError for wrong feeds."""
        if bundle not in self._models or self._keeper is None:
            raise RuntimeError(f"{bundle}: is not loaded")
        model = self._models[bundle]
        return await self._keeper.run(model.graph, feeds, check_feeds(model.read, feeds), timeout_s)

    async def close(self) -> None:
        """End the worker and wait until it is gone."""
        if self._keeper:
            await self._keeper.close()
        self._models.clear()
        self._keeper = None

    def status(self) -> Mapping[str, Any]:
        """For `edge-agent status`."""
        keeper = self._keeper
        if keeper is None:
            return {"state": "no model loaded"}
        return {
            "pid": keeper.pid,
            "starts": keeper.starts,
            "crashes": keeper.crashes,
            "late": keeper.late,
            "waiting": keeper.waiting,
            "trips": keeper.trips,
            "protections": keeper.protections,
            "models": {str(path): model.graph.status() for path, model in self._models.items()},
        }

    def _graph(self, read: Bundle) -> Graph:
        layout = handoff.Layout(inputs=read.inputs, outputs=read.outputs, batch=read.batch)
        tensors = handoff.shared(layout.size)
        inputs, outputs = layout.views(handoff.mapped(tensors, writable=True))
        self._slots = (self._slots + 1) % (1 << 16)
        specification = json.dumps({"name": read.id, "threads": chosen_threads(read.path, read.hash), **layout.specification()}).encode()
        return Graph(
            name=read.id,
            slot=self._slots,
            model=read.model,
            specification=specification,
            tensors=tensors,
            inputs=inputs,
            outputs=outputs,
            room=read.batch,
        )
