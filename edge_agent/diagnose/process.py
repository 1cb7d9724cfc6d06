"""The agent's end of one worker process: start it, talk to it without ever blocking, kill it, notice its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import edge_agent
from edge_agent.diagnose.handoff import LONGEST, REPLY, REQUEST


class Listener(Protocol):
    """Who is told what the worker says. Called in the event loop."""

    def replied(self, how: int, number: int, spent_ns: int, text: str) -> None: ...
    def ended(self, why: str, *, killed: bool) -> None:
        """The process is gone without having been killed by us. `killed`: by somebody else, a person or a kernel short of memory."""


class WorkerProcess:
    """One child process. Everything that was started here is also reaped here."""

    def __init__(self, listener: Listener, memory: int) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        with theirs:
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "edge_agent.diagnose.child", str(theirs.fileno()), str(os.getpid()), str(memory)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        self._pidfd = os.pidfd_open(self._child.pid)
        self._loop.add_reader(self._sock, self._readable)
        self._loop.add_reader(self._pidfd, self._exited)
        self._exit = self._loop.create_future()
        self._open = True

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def reaped(self) -> bool:
        """Whether the kernel is done with it."""
        return self._exit.done()

    def send(self, header: Sequence[int], descriptors: Sequence[int] = (), cuts: Sequence[int] = ()) -> None:
        """Send one request. OSError if the process is gone."""
        message = REQUEST.pack(*header) + bytes(cuts)
        if descriptors:
            socket.send_fds(self._sock, [message], list(descriptors))
        else:
            self._sock.send(message)

    def kill(self) -> None:
        """End it at once; nothing is heard of it any more. It is reaped when the kernel is done with it."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._child.kill()

    async def gone(self) -> None:
        """Wait until it was reaped."""
        await self._exit

    def _readable(self) -> None:
        try:
            message = self._sock.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._loop.remove_reader(self._sock)  # its exit will be told by the pidfd
            return
        how, number, spent_ns = REPLY.unpack_from(message)
        self._listener.replied(how, number, spent_ns, message[REPLY.size :].decode(errors="replace") if len(message) > REPLY.size else "")

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._child.wait()
        self._exit.set_result(None)
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._listener.ended(f"killed by signal {-code}" if code < 0 else f"exited with {code}", killed=code == -signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Only what Python needs: no proxy, no credentials, no runtime options from outside."""
    home = Path(edge_agent.__file__).parent.parent
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "VIRTUAL_ENV") if name in os.environ}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return kept | threads | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
