"""How many pictures may be on their way to the loops? Two; behind them only the newest waits. A slow model never sees a stale queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge_agent.contracts import Sink
from edge_agent.messages import Sample

_MOST = 2
_LOST_NS = 5_000_000_000  # a batch that was not taken by then was dropped on its way


class Outbox:
    """Between the camera's thread and the sink."""

    def __init__(self, sink: Sink, mono_ns: Callable[[], int]) -> None:
        self._sink, self._mono_ns = sink, mono_ns
        self._lock = threading.Lock()
        self._sent: dict[int, int] = {}  # number -> when it was sent
        self._number = 0
        self._held: Sequence[Sample] | None = None
        self.skipped = 0  # pictures that a newer one replaced

    def offer(self, batch: Sequence[Sample]) -> None:
        """Send it, or hold it until one of those on their way was taken."""
        now_ns = self._mono_ns()
        with self._lock:
            self._sent = {n: at for n, at in self._sent.items() if now_ns - at < _LOST_NS}
            if len(self._sent) >= _MOST:
                self.skipped += self._held is not None
                self._held = batch
                return
            number = self._book(now_ns)
        self._send(batch, number)

    def _book(self, now_ns: int) -> int:
        self._number += 1
        self._sent[self._number] = now_ns
        return self._number

    def _send(self, batch: Sequence[Sample], number: int) -> None:
        self._sink.samples(batch, lambda: self._taken(number))

    def _taken(self, number: int) -> None:
        with self._lock:
            self._sent.pop(number, None)
            batch, self._held = self._held, None
            following = self._book(self._mono_ns()) if batch is not None else 0
        if batch is not None:
            self._send(batch, following)
