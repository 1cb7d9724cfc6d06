"""Who turns a link while it is up? The control loop itself, as bytes come: a message then costs no change of threads.

The session's thread still connects, waits between attempts and hears of the end; between two threads each message would cost
two wake-ups and a quarrel about the interpreter's lock, more than everything else that is done with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

_LOOK_S = 0.5  # how often a silent link is looked after: keep-alive, answers that are due


class Turned(Protocol):
    """A connection."""

    def turn(self, timeout_s: float | None) -> None: ...
    def fileno(self) -> int: ...

    @property
    def more(self) -> bool:
        """Something is left to read that no poll would tell of, or there was more than is read at once."""

    @property
    def backlog(self) -> int:
        """Bytes that the socket has not taken."""


class Drive:
    """Turns one link in an event loop until it ends or `stop` is set."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Turned, *, bell: int, pause_s: float, after: Callable[[], None]) -> None:
        """`bell` is readable when there is something to do; `after` is called after each turn; `pause_s` lets bytes gather."""
        self._loop, self._link, self._bell, self._pause_s, self._after = loop, link, bell, pause_s, after
        self._fd = link.fileno()
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = self._reading = False

    def run(self, stopped: Callable[[], bool]) -> None:
        """On the session's thread: wait for the end. Raises what ended it."""
        self._stopped = stopped
        self._loop.call_soon_threadsafe(self._begin)  # RuntimeError once the loop is closed: the process ends
        self._ended.wait()
        if self._error is not None:
            raise self._error

    # ---- in the event loop

    def _begin(self) -> None:
        self._loop.add_reader(self._bell, self._step)
        self._listen()
        self._step()

    def _listen(self) -> None:
        self._reading = True
        self._loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        """Bytes have come: no need to ask the system again."""
        self._step(None)

    def _step(self, timeout_s: float | None = 0.0) -> None:
        """One turn. What it raises ends the link."""
        if self._ended.is_set():
            return
        try:
            if self._stopped():
                self._end(None)
                return
            self._link.turn(timeout_s)
            self._after()
        except Exception as e:  # noqa: BLE001 (carried over to the session's thread, which raises it)
            self._end(e)
            return
        self._go_on()

    def _go_on(self) -> None:
        if self._link.more:
            self._loop.call_soon(self._step)
        elif self._pause_s and self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)
            self._loop.call_later(self._pause_s, self._gathered)
        self._write(wanted=bool(self._link.backlog))
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self._step()

    def _gathered(self) -> None:
        if not self._ended.is_set():
            self._listen()

    def _write(self, *, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._fd, self._step)
            else:
                self._loop.remove_writer(self._fd)

    def _end(self, error: Exception | None) -> None:
        self._error = error
        for fd in (self._fd, self._bell):
            self._loop.remove_reader(fd)
        self._loop.remove_writer(self._fd)
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()
