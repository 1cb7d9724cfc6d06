"""Run a bundle's graph in this very process (replay, tests, benches): the plain way, which no deadline can stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import golden
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.session import open_session

Opener = Callable[[Path], Bundle]
"""Reads and admits a bundle: `functools.partial(bundle.read, keys=..., dev=...)`."""

Feeds = Mapping[str, NDArray[Any]]


class InProcessRuntime:
    """contracts.Runtime without a worker. The time-out is not applied: a replay must not depend on how busy the machine is."""

    def __init__(self, read: Opener) -> None:
        self._read = read
        self._open: dict[Path, tuple[Bundle, Any]] = {}

    async def load(self, bundle: Path) -> None:
        """Admit, open, re-run the golden vectors. ModelRefused."""
        read = self._read(bundle)
        session = open_session(read.model, str(bundle))
        for inputs, outputs in chunks(read):
            golden.compare(_run(session, read, inputs), outputs, read.card)
        self._open[bundle] = (read, session)

    def opened(self, bundle: Path) -> Bundle:
        """The bundle that was loaded from this path."""
        return self._open[bundle][0]

    async def run(self, bundle: Path, feeds: Feeds, timeout_s: float) -> dict[str, NDArray[Any]]:
        """Named inputs to named outputs. RuntimeError when it failed, ValueError for feeds that are not the card's."""
        if bundle not in self._open:
            raise RuntimeError(f"{bundle}: is not loaded")
        read, session = self._open[bundle]
        check_feeds(read, feeds)
        return _run(session, read, feeds)

    async def close(self) -> None:
        """Let go of every session."""
        self._open.clear()

    def status(self) -> Mapping[str, Any]:
        """For `edge-agent status`."""
        return {"state": "in this process", "models": sorted(map(str, self._open))}


def _run(session: Any, bundle: Bundle, feeds: Feeds) -> dict[str, NDArray[Any]]:
    names = list(bundle.outputs)
    try:
        outputs = session.run(names, dict(feeds))
    except Exception as e:  # the runtime's own exceptions share no base class but this one
        raise RuntimeError(f"{bundle.id}: {str(e)[:300]}") from e
    batch = batch_of(feeds)
    for name, output, shape in zip(names, outputs, bundle.outputs.values(), strict=True):
        if output.shape != (batch, *shape) or output.dtype != np.float32:
            raise RuntimeError(f"{bundle.id}: output {name} is {output.dtype} {list(output.shape)}; expected float32 {[batch, *shape]}")
    return dict(zip(names, outputs, strict=True))


def check_feeds(bundle: Bundle, feeds: Feeds) -> int:
    """The batch size; ValueError unless these are finite float32 feeds of the card's names and shapes."""
    expected = bundle.inputs
    if feeds.keys() != expected.keys():
        raise ValueError(f"{bundle.id}: got {', '.join(feeds)}; the graph takes {', '.join(expected)}")
    batch = batch_of(feeds)
    if not 1 <= batch <= bundle.batch:
        raise ValueError(f"{bundle.id}: a batch of {batch}; 1 to {bundle.batch} fit")
    for name, array in feeds.items():
        if array.dtype != np.float32 or array.shape != (batch, *expected[name]):
            raise ValueError(f"{bundle.id}: {name} is {array.dtype} {list(array.shape)}; expected float32 {[batch, *expected[name]]}")
        if not np.isfinite(array).all():
            raise ValueError(f"{bundle.id}: {name} holds NaN or infinity")
    return batch


def batch_of(feeds: Feeds) -> int:
    """How many windows these feeds hold."""
    return int(next(iter(feeds.values())).shape[0])


def chunks(bundle: Bundle) -> list[tuple[golden.Arrays, golden.Arrays]]:
    """The golden vectors in batches that the graph takes."""
    count = batch_of(bundle.golden_inputs)
    cuts = [slice(i, i + bundle.batch) for i in range(0, count, bundle.batch)]
    return [({n: a[c] for n, a in bundle.golden_inputs.items()}, {n: a[c] for n, a in bundle.golden_outputs.items()}) for c in cuts]
