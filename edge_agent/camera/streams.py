"""How are pictures read through OpenCV, and from a folder? One opened source; used by one thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.camera.files import Folder
from edge_agent.camera.settings import Camera
from edge_agent.clock import Clock
from edge_agent.errors import PlantError

_POLL_S = 0.02
_opening = threading.Lock()  # FFmpeg's options come from the environment, which all cameras of a process share


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as it came: uint8 [H, W] or [H, W, 3] in the order blue, green, red."""

    picture: NDArray[np.uint8]
    stream_ns: int = -1  # its time in the stream; -1: the stream says none
    wall_ns: int | None = None  # when it was taken, where the source knows
    name: str = ""  # of its file


class Over(PlantError):
    """A file was played to its end: there will be no more."""


class Source(Protocol):
    """An opened source."""

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Pictures as they come; None now and then where nothing came, which is fine. PlantError when there will be no more."""

    def close(self) -> None: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """For `edge-agent status`."""


def opened(config: Camera, home: Path, clock: Clock) -> Source:
    """Open it. PlantError."""
    if config.folder is not None:
        return _Watched(home / config.folder, config, clock)
    return _Captured(config, home, clock)


def cv2_module() -> Any:
    """OpenCV, quiet and on one thread. PlantError if it is not installed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    except ImportError as e:
        raise PlantError("cameras need OpenCV; install it with: pip install 'edge-agent[vision]'") from e
    cv2.setNumThreads(1)
    return cv2


class _Captured:
    """A stream, a device or a video file."""

    def __init__(self, config: Camera, home: Path, clock: Clock) -> None:
        self._cv2, self._config, self._clock = cv2_module(), config, clock
        self._paced = config.file is not None
        self._capture = self._open(home)
        if not self._capture.isOpened():
            self._capture.release()
            raise PlantError(f"{config.place} cannot be opened within {config.open_timeout:g} s; look at address, login and cable")

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        begin_ns = self._clock.mono_ns()
        first = True
        while not stop.is_set():
            good, picture = self._capture.read()
            if not good or picture is None:
                raise self._ended(first)
            stream_ms = float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC))
            if self._paced and stop.wait(max(0.0, stream_ms / 1000 - (self._clock.mono_ns() - begin_ns) / 1e9)):
                return
            first = False
            yield Frame(picture, int(stream_ms * 1e6))

    def close(self) -> None:
        self._capture.release()

    @property
    def facts(self) -> Mapping[str, Any]:
        return {}

    def _ended(self, first: bool) -> PlantError:
        if self._paced:
            return Over(f"{self._config.place} {'holds no picture that can be read' if first else 'is at its end'}")
        return PlantError(f"no picture within {self._config.read_timeout:g} s")

    def _open(self, home: Path) -> Any:
        cv2, config = self._cv2, self._config
        if config.device is not None:
            return cv2.VideoCapture(config.device, cv2.CAP_V4L2)
        target = str(home / config.file) if config.file else config.address
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(config.open_timeout * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(config.read_timeout * 1000),
            cv2.CAP_PROP_N_THREADS,
            1,  # FFmpeg's threads hold back a picture each
        ]
        with _opening:
            os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = self._options()
            return cv2.VideoCapture(target, cv2.CAP_FFMPEG, timeouts)

    def _options(self) -> str:
        if self._config.file:
            return "protocol_whitelist;file"
        quick = "fflags;nobuffer|flags;low_delay"
        if str(self._config.url).startswith("rtsp"):
            return f"rtsp_transport;{self._config.transport}|max_delay;0|{quick}"
        return f"{quick}|protocol_whitelist;http,tcp"


class _Watched:
    """A folder."""

    def __init__(self, path: Path, config: Camera, clock: Clock) -> None:
        self._cv2, self._path, self._clock = cv2_module(), path, clock
        self.folder = Folder(path, config.whole_within)
        try:
            self.folder.begin()
        except OSError as e:
            raise PlantError(f"{path}: {e.strerror}; make the folder, or mend the path") from e

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        while not stop.wait(_POLL_S):
            try:
                news = self.folder.news(self._clock.mono_ns())
            except OSError as e:
                raise PlantError(f"{self._path}: {e.strerror}") from e
            for name, raw, wall_ns in news:
                picture = self._cv2.imdecode(np.frombuffer(raw, np.uint8), self._cv2.IMREAD_COLOR)
                if picture is None:
                    self.folder.broken += 1
                    self.folder.last_broken = name
                else:
                    yield Frame(picture, wall_ns=wall_ns, name=name)
            yield None

    def close(self) -> None:
        pass

    @property
    def facts(self) -> Mapping[str, Any]:
        found = {"broken_files": self.folder.broken, "skipped_files": self.folder.skipped}
        return found | ({"last_broken_file": self.folder.last_broken} if self.folder.broken else {})
