"""Which messages may be acknowledged? Those that are on disk, in the order in which they came (MQTT 5.0, 4.6)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class _Batch:
    __slots__ = ("done", "mids", "opened_ns")

    def __init__(self, mids: list[int], opened_ns: int) -> None:
        self.mids, self.opened_ns, self.done = mids, opened_ns, False


class Acks:
    """Of one connection: packet identifiers of another connection mean nothing here.

    The connection's thread opens batches and takes what is due; `committed` may be called on any thread, any number of times.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._batches: deque[_Batch] = deque()
        self._thread = threading.get_ident()
        self.waiting = 0  # messages not acknowledged yet

    def open(self, mids: list[int], now_ns: int) -> Callable[[], None]:
        """A batch that waits for its commit: call the result then."""
        batch = _Batch(mids, now_ns)
        self._batches.append(batch)
        self.waiting += len(mids)

        def committed() -> None:
            batch.done = True
            if threading.get_ident() != self._thread:
                self._wake()

        return committed

    def due(self) -> list[int]:
        """Identifiers to acknowledge now, oldest first."""
        mids: list[int] = []
        while self._batches and self._batches[0].done:
            mids += self._batches.popleft().mids
        self.waiting -= len(mids)
        return mids

    def oldest_ns(self) -> int | None:
        """When the batch was opened that has waited longest."""
        return self._batches[0].opened_ns if self._batches else None
