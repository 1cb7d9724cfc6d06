"""Who waits for the plant's word that it has taken a call? A call over MQTT is a command, and an answer that names its first argument."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.messages import Sample, Scalar

_MOST = 64

Answer = Callable[[bool], None]
"""Called once, on any thread: whether the plant says that it took the call."""


class Calls:
    """The calls under way on one connection."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, float | str], Answer] = {}
        self._lock = threading.Lock()

    def begin(self, tag: str, key: Scalar, answer: Answer) -> bool:
        """Wait for the word; False where too many wait already, or one with the same key."""
        with self._lock:
            if len(self._waiting) >= _MOST or (tag, _same(key)) in self._waiting:
                return False
            self._waiting[tag, _same(key)] = answer
            return True

    def end(self, tag: str, key: Scalar) -> None:
        """Nobody waits any more."""
        with self._lock:
            self._waiting.pop((tag, _same(key)), None)

    def heard(self, sample: Sample) -> None:
        """The plant said something on a call's topic."""
        if isinstance(sample.value, float | int | bool | str):
            with self._lock:
                answer = self._waiting.pop((sample.tag, _same(sample.value)), None)
            if answer is not None:
                answer(not sample.quality)


def _same(key: Scalar) -> float | str:
    return key if isinstance(key, str) else float(key)
