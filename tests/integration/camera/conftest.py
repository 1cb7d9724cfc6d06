"""A camera on GStreamer's RTSP server as a process that can be frozen, killed and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import camera
from edge_agent.clock import SystemClock
from edge_agent.contracts import Setup

SERVER = Path(__file__).parents[2] / "counterparts" / "rtsp_camera.py"


@dataclass
class RtspCamera:
    """tests/counterparts/rtsp_camera.py on a fixed port."""

    folder: Path
    pictures: np.ndarray  # uint8 [n, H, W]
    port: int
    fps: int = 50
    coder: str = "mjpeg"
    process: subprocess.Popen[str] | None = None
    seen: int = -1  # the picture that was sent last
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self) -> RtspCamera:
        _, height, width = self.pictures.shape
        raw = self.folder / "pictures.raw"
        raw.write_bytes(self.pictures.tobytes())
        command = ["/usr/bin/python3", str(SERVER), *map(str, (self.port, width, height, self.fps)), self.coder, str(raw)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stderr
        if self.process.stdout.readline().strip() != "READY":
            pytest.fail(f"the RTSP server did not start: run `make counterparts`\n{self.process.stderr.read()[-2000:]}")
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        return self

    def _listen(self, process: subprocess.Popen[str]) -> None:
        with suppress(ValueError):  # it was closed
            for line in process.stdout or ():
                with self._changed:
                    self.seen = int(line)
                    self._changed.notify_all()

    def before(self, number: int, gone: Callable[[], bool]) -> bool:
        """Show it, and wait until a frame of it was sent; False where the camera is gone."""
        self.show(number)
        deadline = time.monotonic() + 5
        with self._changed:
            while self.seen != number and not gone():
                assert time.monotonic() < deadline, "the camera shows nothing"
                self._changed.wait(0.01)
        return self.seen == number and not gone()

    def show(self, number: int) -> None:
        """This picture, from the next frame on."""
        assert self.process and self.process.stdin
        with suppress(BrokenPipeError, ValueError):  # it was killed: there is nobody to see
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr) if self.process else ():
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def rtsp(tmp_path: Path) -> Iterator[Callable[..., RtspCamera]]:
    """Make cameras: `rtsp(pictures)`. Not started yet; killed at the end."""
    made: list[RtspCamera] = []

    def make(pictures: np.ndarray, **more: Any) -> RtspCamera:
        folder = tmp_path / f"camera{len(made)}"
        folder.mkdir()
        made.append(RtspCamera(folder, pictures, free_port(), **more))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def watching(tmp_path: Path) -> Callable[..., Any]:
    """`async with watching(sink, url=...) as connector:` one tag `eye`."""

    @asynccontextmanager
    async def watch(sink: Any, tags: dict[str, dict[str, Any]] | None = None, **config: Any) -> AsyncIterator[camera.Connector]:
        checked = camera.Config.model_validate_json(json.dumps({"type": "camera", "max_backoff": "500 ms", **config}))
        places = {n: camera.Tag.model_validate_json(json.dumps({"from": "cam", **t})) for n, t in (tags or {"eye": {}}).items()}
        setup = Setup(name="cam", clock=SystemClock(), state=tmp_path / "state", agent="test", home=tmp_path)
        made = camera.Connector(checked, places, setup)
        task = asyncio.ensure_future(made.run(sink))
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=10)

    return watch


class Latest:
    """A sink that remembers links, gaps and the last pictures, and takes each at once."""

    def __init__(self) -> None:
        self.pictures: list[Any] = []
        self.links: list[Any] = []
        self.gaps: list[Any] = []

    def samples(self, batch: Any, committed: Any = None) -> None:
        self.pictures = [*self.pictures, *batch][-500:]
        committed()

    def link(self, state: Any) -> None:
        self.links.append(state)

    def gap(self, gap: Any) -> None:
        self.gaps.append(gap)

    def alive(self, connector: str, mono_ns: int) -> None: ...

    async def until(self, found: Callable[[], Any], what: str, timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not found():
            assert time.monotonic() < deadline, f"no {what} within {timeout_s} s: {self.links}"
            await asyncio.sleep(0.01)


@pytest.fixture
def latest() -> Latest:
    return Latest()
