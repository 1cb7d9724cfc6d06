"""Run graphs in a killable process: a model that is late, crashes or eats memory takes nothing with it but its own answer.

One worker serves every model, one run at a time. Past its deadline a run is killed with the worker; a new worker starts at once and
loads the models again; the culprit stands aside longer each time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.diagnose import golden, handoff
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.keeper import Arrays, Graph, Keeper
from edge_agent.diagnose.runtime import Feeds, Opener, check_feeds, chunks
from edge_agent.errors import ModelRefused

MEMORY = 1 << 30  # bytes of address space that the models may take beyond what the runtime itself needs
_GOLDEN_S = 10.0


class WorkerRuntime:
    """contracts.Runtime in a child process. Use it from one event loop, and `close` it there."""

    def __init__(self, read: Opener, *, memory: int = MEMORY) -> None:
        self._read, self._memory = read, memory
        self._models: dict[Path, tuple[Bundle, Graph]] = {}
        self._slots = 0
        self._keeper: Keeper | None = None

    async def load(self, bundle: Path) -> None:
        """Admit here; open, warm up and re-run the golden vectors in the worker. ModelRefused."""
        read = await asyncio.to_thread(self._read, bundle)
        self._keeper = self._keeper or Keeper(self._memory)
        graph = self._graph(read)
        try:
            await self._keeper.load(graph)
            for inputs, outputs in chunks(read):
                batch = check_feeds(read, inputs)
                golden.compare(await self._keeper.run(graph, inputs, batch, _GOLDEN_S), outputs, read.card)
        except BaseException as e:
            self._keeper.unload(graph)
            if isinstance(e, TimeoutError | RuntimeError):
                raise ModelRefused(f"{bundle}: its golden vectors cannot be run here: {e}") from e
            raise
        if bundle in self._models:
            self._keeper.unload(self._models[bundle][1])
        self._models[bundle] = (read, graph)

    def opened(self, bundle: Path) -> Bundle:
        """The bundle that was loaded from this path."""
        return self._models[bundle][0]

    async def run(self, bundle: Path, feeds: Feeds, timeout_s: float) -> Arrays:
        """Named inputs to named outputs. TimeoutError when late, RuntimeError when it failed, ValueError for wrong feeds."""
        if bundle not in self._models or self._keeper is None:
            raise RuntimeError(f"{bundle}: is not loaded")
        read, graph = self._models[bundle]
        return await self._keeper.run(graph, feeds, check_feeds(read, feeds), timeout_s)

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
            "protections": keeper.protections,
            "models": {str(path): _of(graph) for path, (_, graph) in self._models.items()},
        }

    def _graph(self, read: Bundle) -> Graph:
        layout = handoff.Layout(inputs=read.inputs, outputs=read.outputs, batch=read.batch)
        tensors = handoff.shared(layout.size)
        inputs, outputs = layout.views(handoff.mapped(tensors, writable=True))
        self._slots = (self._slots + 1) % (1 << 16)
        specification = json.dumps({"name": read.id, **layout.specification()}).encode()
        return Graph(
            name=read.id, slot=self._slots, model=read.model, specification=specification, tensors=tensors, inputs=inputs, outputs=outputs
        )


def _of(graph: Graph) -> Mapping[str, Any]:
    return {
        "loaded": graph.loaded,
        "runs": graph.runs,
        "failures": graph.failures,
        "strikes": graph.backoff.strikes,
        "mean_us": round(graph.spent_ns / max(graph.runs, 1) / 1000, 1),
        "last_error": graph.last_error,
    }
