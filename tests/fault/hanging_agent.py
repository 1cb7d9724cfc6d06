"""The agent, with something that hangs on demand: `python hanging_agent.py CONFIG`.

SIGUSR1: the event loop is blocked.   SIGUSR2: the ledger's writer thread is dead-locked, the event loop goes on.
SIGRTMIN: one loop never finishes its turn, everything else goes on.
"""

import asyncio
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from edge_agent import logs, service
from edge_agent.agent import Agent
from edge_agent.clock import SystemClock
from edge_agent.config.load import load
from edge_agent.feedback.store import Store
from edge_agent.loop import Loop

_dead = threading.Lock()


class Hanging(Agent):
    """An agent that can be told to hang."""

    async def run(self, handlers: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, time.sleep, 3600)
        loop.add_signal_handler(signal.SIGUSR2, self._lock_the_writer)
        loop.add_signal_handler(signal.SIGRTMIN, self._stop_a_loop)
        await super().run(handlers)

    def _lock_the_writer(self) -> None:
        _dead.acquire()
        write = Store.write

        def hang(*arguments: Any, **more: Any) -> Any:
            with _dead:
                return write(*arguments, **more)

        Store.write = hang  # type: ignore[method-assign]

    def _stop_a_loop(self) -> None:
        async def never(*arguments: Any) -> None:
            await asyncio.Event().wait()

        Loop.step = never  # type: ignore[method-assign, assignment]


def main() -> None:
    logs.setup(False)
    service.Agent = Hanging  # type: ignore[misc, attr-defined]
    asyncio.run(service.run(load(Path(sys.argv[1])), clock=SystemClock()))


if __name__ == "__main__":
    main()
