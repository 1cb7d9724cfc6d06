"""What does a camera see? RTSP, MJPEG over HTTP, a camera of this machine, a video file, a folder of pictures; extra `vision`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.camera.settings import Camera, CameraTag
from edge_agent.contracts import Setup, Sink
from edge_agent.errors import PlantError
from edge_agent.messages import Gap, LinkState

if TYPE_CHECKING:
    from edge_agent.camera.eye import Eye
    from edge_agent.camera.outbox import Outbox

log = logging.getLogger(__name__)

_ROUND_S = 0.1
_LEFT_MOST = 3  # threads that hang in the library; with so many, no further one is begun
_STOP_S = 3.0


class Config(Camera):
    """A camera, or what plays one. No TLS streams."""

    type: Literal["camera"]


Tag = CameraTag


class Connector:
    """One camera, read on a thread of its own; OpenCV never runs in the event loop. Only the newest picture waits."""

    def __init__(self, config: Config, tags: Mapping[str, CameraTag], setup: Setup) -> None:
        self._config, self._tags, self._setup = config, tags, setup
        self._sink: Sink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._eye: Eye | None = None
        self._outbox: Outbox | None = None
        self._left: list[threading.Thread] = []  # hanging in the library, not listened to any more
        self._state, self._reason = "connecting", "not running"
        self._seen_ns: int | None = None  # wall time when the link was last up
        self.stalls = 0

    async def run(self, sink: Sink) -> None:
        """Until cancelled. A library call that hangs is left behind with its thread, and the camera is opened anew."""
        from edge_agent.camera.outbox import Outbox

        self._sink, self._loop = sink, asyncio.get_running_loop()
        self._outbox = Outbox(sink, self._setup.clock.mono_ns)
        self._say("connecting", self._config.place)
        while True:
            eye, thread = self._begin(self._outbox)
            try:
                await self._look_after(eye, thread)
            finally:
                eye.stop.set()
            self._left = [t for t in (*self._left, thread) if t.is_alive()]
            while len(self._left) >= _LEFT_MOST:
                self._say("down", f"{len(self._left)} calls hang in the video library; waiting for one to end")
                await self._setup.clock.sleep(_ROUND_S)
                self._left = [t for t in self._left if t.is_alive()]

    def status(self) -> Mapping[str, Any]:
        from edge_agent.camera.eye import words

        eye, outbox = self._eye, self._outbox
        found: dict[str, Any] = {"link": self._state, "reason": self._reason, "stalls": self.stalls, "hanging": len(self._left)}
        if eye is not None and outbox is not None:
            found |= {"frames": eye.frames, "opens": eye.opens, "skipped": outbox.skipped, **eye.facts, "tags": words(eye.sights)}
        return found

    # ------------------------------------------------------------ the thread and its watchdog

    def _begin(self, outbox: Outbox) -> tuple[Eye, threading.Thread]:
        from edge_agent.camera.eye import Eye

        setup = self._setup
        self._eye = eye = Eye(self._config, self._tags, home=setup.home, clock=setup.clock, outbox=outbox, said=self._heard)
        thread = threading.Thread(target=eye.run, name=f"camera-{setup.name}", daemon=True)
        thread.start()
        return eye, thread

    async def _look_after(self, eye: Eye, thread: threading.Thread) -> None:
        """Return when the thread hangs. A thread that died of a defect of ours is raised, for the supervisor."""
        config, clock = self._config, self._setup.clock
        patience_s = max(config.stall, config.open_timeout + 1.0, config.read_timeout + 1.0)
        try:
            while thread.is_alive():
                await clock.sleep(_ROUND_S)
                if clock.mono_ns() - eye.progress_ns > patience_s * 1e9:
                    self.stalls += 1
                    self._say("down", f"the video library has not answered for {patience_s:g} s; the camera is opened anew")
                    return
        except asyncio.CancelledError:
            eye.stop.set()
            await asyncio.shield(asyncio.to_thread(thread.join, _STOP_S))
            raise
        raise PlantError(f"connectors.{self._setup.name}: the camera's thread has ended; this is a defect, please report it")

    def _heard(self, state: str, reason: str) -> None:
        """On the camera's thread."""
        if state == "up" and self._seen_ns is not None and self._state != "up" and self._sink is not None:
            now_ns = self._setup.clock.wall_ns()
            self._sink.gap(Gap(connector=self._setup.name, tag=None, start_ns=self._seen_ns, end_ns=now_ns, reason=self._reason))
        self._say("up" if state == "up" else "down", reason)

    def _say(self, state: Literal["connecting", "up", "down"], reason: str) -> None:
        """A change once; the newest reason is in the status."""
        if state == "up":
            self._seen_ns = self._setup.clock.wall_ns()
        changed, self._state, self._reason = state != self._state or state == "connecting", state, reason
        if not changed or self._sink is None:
            return
        log.log(logging.WARNING if state == "down" else logging.INFO, "%s: %s: %s", self._setup.name, state, reason)
        self._sink.link(LinkState(connector=self._setup.name, state=state, reason=reason, mono_ns=self._setup.clock.mono_ns()))
