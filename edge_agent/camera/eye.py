"""What does one thread do with one camera? Open, read, cut, judge, hand on; and open again when it ends, later each time."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.camera.look import Sight, Watcher, cut
from edge_agent.camera.outbox import Outbox
from edge_agent.camera.settings import Camera, CameraTag
from edge_agent.camera.stamps import Stamps
from edge_agent.camera.streams import Frame, Over, Source, cv2_module, opened
from edge_agent.clock import Clock
from edge_agent.errors import PlantError
from edge_agent.messages import Quality, Sample

_FIRST_PAUSE_S = 0.25
_FOR_EVER = 1 << 62
_STEADY_NS = 10_000_000_000  # a link that held for this long begins with the first pause again

Open = Callable[[Camera, Path, Clock], Source]


class Eye:
    """One thread's work. `said(state, reason)` is told of each change of the link; nobody listens once `left` is set."""

    def __init__(
        self,
        config: Camera,
        tags: Mapping[str, CameraTag],
        *,
        home: Path,
        clock: Clock,
        outbox: Outbox,
        said: Callable[[str, str], None],
        open_source: Open = opened,
    ) -> None:
        self._config, self._tags, self._home, self._clock = config, tags, home, clock
        self._outbox, self._said, self._open = outbox, said, open_source
        self._random = random.Random()  # noqa: S311  spreads reconnects of many agents; no secret
        self.stop = threading.Event()
        self.progress_ns = clock.mono_ns()  # when it last came back from the library
        self.frames = self.opens = 0
        self.sights: dict[str, Sight] = {}
        self.facts: Mapping[str, Any] = {}

    def run(self) -> None:
        """Until stopped."""
        pause_s = _FIRST_PAUSE_S
        while not self.stop.is_set():
            began_ns = self._clock.mono_ns()
            try:
                self._watch()
            except Over as e:
                self._tell("down", str(e))
                self.progress_ns = _FOR_EVER
                self.stop.wait()
            except PlantError as e:
                self._tell("down", str(e))
            if self._clock.mono_ns() - began_ns > _STEADY_NS:
                pause_s = _FIRST_PAUSE_S
            self._rest(pause_s * self._random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, self._config.max_backoff)

    def _rest(self, seconds: float) -> None:
        self.progress_ns = self._clock.mono_ns() + int(seconds * 1e9)
        self.stop.wait(seconds)
        self.progress_ns = self._clock.mono_ns()

    def _watch(self) -> None:
        """One opened source, to its end. PlantError."""
        self.opens += 1
        source = self._open(self._config, self._home, self._clock)
        watchers = {name: Watcher(tag) for name, tag in self._tags.items() if tag.number is None}
        stamps = Stamps(self._config.latency)
        try:
            if self._config.folder is not None:
                self._tell("up", "watching")
            for frame in source.frames(self.stop):
                self.progress_ns = self._clock.mono_ns()
                self.facts = source.facts
                if frame is not None and not self.stop.is_set():
                    self._tell("up", f"{frame.picture.shape[1]} x {frame.picture.shape[0]} pixels")
                    self._hand_on(frame, watchers, stamps)
        finally:
            source.close()

    def _hand_on(self, frame: Frame, watchers: Mapping[str, Watcher], stamps: Stamps) -> None:
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        taken_ns = min(frame.wall_ns or wall_ns - stamps.stamp(frame.stream_ns, mono_ns), wall_ns)
        batch = [_number(name, tag, frame.name, taken_ns, wall_ns, mono_ns) for name, tag in self._tags.items() if tag.number is not None]
        rgb = frame.picture[..., ::-1] if frame.picture.ndim == 3 else frame.picture
        for name, watcher in watchers.items():
            picture = cut(rgb, watcher.tag)
            if picture is None:
                sight = Sight(int(Quality.BAD), f"the roi lies outside the picture of {rgb.shape[1]} x {rgb.shape[0]} pixels; mend it")
            else:
                picture = _coloured(picture, watcher.tag)
                sight = watcher.judge(picture, mono_ns)
            self.sights[name] = sight
            batch.append(Sample(name, picture, sight.quality, taken_ns, wall_ns, mono_ns))
        self.frames += 1
        self._outbox.offer(batch)

    def _tell(self, state: str, reason: str) -> None:
        if not self.stop.is_set():
            self._said(state, reason)


def _coloured(picture: np.ndarray, tag: CameraTag) -> np.ndarray:
    if tag.colour == "rgb":
        return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    if picture.ndim == 2:
        return picture
    cv2 = cv2_module()
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _number(name: str, tag: CameraTag, file: str, taken_ns: int, wall_ns: int, mono_ns: int) -> Sample:
    found = re.search(tag.number or "", file)
    digits = found[1] if found and found[1] else ""
    good = digits.isascii() and digits.isdigit() and len(digits) < 16
    return Sample(name, int(digits) if good else None, Quality.GOOD if good else Quality.TYPE, taken_ns, wall_ns, mono_ns)


def words(sights: Mapping[str, Sight]) -> dict[str, dict[str, Any]]:
    """For `edge-agent status` and `doctor`."""
    return {
        name: {"state": s.why, "mean": round(s.mean, 1), "contrast": round(s.contrast, 1), "sharpness": round(s.sharpness, 1)}
        for name, s in sights.items()
    }
