"""What went into the pure middle, and what came out: a file that can be replayed to the byte.

A zstd stream of frames, each a 4-byte little-endian length and a msgpack array [kind, ...]. The first frame is the head. A file
cut off in mid-frame (mains off) is good up to there.

    ["head", {...}]                                     version, agent, config hash, origin of the time axis
    ["samples", [[tag, value, quality, source, received, mono], ...]]   a waveform block is bytes, float32 little-endian;
                                                        a picture is [shape, bytes]
    ["tick", mono]   ["link", connector, state, mono]   ["alive", connector, mono]
    ["turn", loop, window, applied, armed, [status, why] if the diagnosis depended on time, decision as canonical JSON, blamed]
                                                        blamed: whether there was time to find out which tags made it say so
    ["start", loop]  ["end", loop]                      the loop's windows begin and end here
    ["baseline", loop, [[centre], [scale]]]             what the loop had learnt before the recording began
    ["relearn", loop]                                   it was told to learn that anew
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.contracts import Situation
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Decision, Diagnosis, LinkState, Sample

VERSION = 2  # 2: turns say whether the blame was found
_LENGTH = struct.Struct("<I")
_FRAME_MAX = 64 << 20
_FLUSH_S = 1.0
_CHUNK = 1 << 16
_QUEUE = 10_000
_MOST_PICTURES = 256 << 20  # bytes of pictures that wait
TIMED = ("late", "failed")  # diagnoses that a replay cannot come to by itself

Frame = list[Any]
_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder().decode


def canonical(decision: Decision) -> bytes:
    """A decision as bytes: equal decisions, equal bytes."""
    return msgspec.json.encode(decision, order="deterministic")


def samples_frame(batch: Sequence[Sample]) -> Frame:
    """A batch as it is written."""
    return ["samples", [[s[0], _written(s[1]) if isinstance(s[1], np.ndarray) else s[1], *s[2:]] for s in batch]]


def _written(value: NDArray[Any]) -> Any:
    return [list(value.shape), value.tobytes()] if value.dtype == np.uint8 else value.astype("<f4").tobytes()


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return np.frombuffer(value, "<f4")
    return np.frombuffer(value[1], np.uint8).reshape(value[0]) if isinstance(value, list) else value


def samples_of(frame: Frame) -> list[Sample]:
    """The batch of a "samples" frame."""
    return [Sample(r[0], _value(r[1]), *r[2:]) for r in frame[1]]


def _pictures(frame: Frame) -> int:
    """Bytes of the pictures in a frame."""
    return sum(len(row[1][1]) for row in frame[1] if isinstance(row[1], list)) if frame[0] == "samples" else 0


def link_frame(state: LinkState) -> Frame:
    """A change of a link as it is written."""
    return ["link", state.connector, state.state, state.mono_ns]


def _timed(diagnosis: Diagnosis) -> list[Any] | None:
    """What of a diagnosis depended on time; of several models also which of them was late or failed."""
    members = [[b.status, b.why] if b.status in TIMED else None for b in diagnosis.votes]
    if any(members):
        return [diagnosis.status, diagnosis.why, members]
    return [diagnosis.status, diagnosis.why] if diagnosis.status in TIMED else None


def turn_frame(situation: Situation, decision: Decision) -> Frame:
    """A turn of a loop as it is written."""
    diagnosis = situation.diagnosis
    timed = _timed(diagnosis)
    return [
        "turn",
        decision.loop,
        decision.window,
        dict(situation.applied),
        situation.armed,
        timed,
        canonical(decision),
        bool(diagnosis.contributions),
    ]


class Recorder:
    """Writes frames on a thread of its own; bounded: when the disk cannot keep up, the recording ends and says so."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path
        self.failed = ""
        self.frames = 0
        self._pictures = 0  # bytes of them that wait; two threads count, and being off by one picture does no harm
        self._queue: queue.Queue[Frame | None] = queue.Queue(_QUEUE)
        self._file = path.open("xb", buffering=0)
        self._thread = threading.Thread(target=self._write, name=f"record {path.name}", daemon=True)
        self.put(["head", {"version": VERSION, **head}])
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Never blocks."""
        size = _pictures(frame)
        if self.failed:
            return
        if size and self._pictures + size > _MOST_PICTURES:
            self.failed = f"{self.path}: the disk cannot keep up with the pictures; the recording ends here"
            return
        try:
            self._queue.put_nowait(frame)
            self._pictures += size
            self.frames += 1
        except queue.Full:
            self.failed = f"{self.path}: the disk cannot keep up; the recording ends here"

    def status(self) -> dict[str, Any]:
        """For `edge-agent status`."""
        return {"path": str(self.path), "frames": self.frames, "failed": self.failed}

    def close(self) -> None:
        """Write what waits and close the file."""
        with suppress(queue.Full):  # its thread is gone: nobody reads on
            self._queue.put(None, timeout=30 if self._thread.is_alive() else 0)
        self._thread.join(timeout=30)

    def _write(self) -> None:
        import zstandard

        try:
            with self._file as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as out:
                while self._write_some(out):
                    out.flush(zstandard.FLUSH_BLOCK)
        except (OSError, TypeError, OverflowError, msgspec.MsgspecError) as e:  # the disk, or a value of a stranger's plug-in
            self.failed = f"{self.path}: {e}; the recording ends here"

    def _write_some(self, out: BinaryIO) -> bool:
        """Write what comes within a second, so that not more than that is lost with the mains; False at the end."""
        until = time.monotonic() + _FLUSH_S
        while (left := until - time.monotonic()) > 0:
            try:
                frame = self._queue.get(timeout=left)
            except queue.Empty:
                return True
            if frame is None:
                return False
            self._pictures -= _pictures(frame)
            data = _encode(frame)
            out.write(_LENGTH.pack(len(data)) + data)
        return True


def begin(path: Path, head: dict[str, Any]) -> Recorder:
    """A recording in a new file. EdgeAgentError if that cannot be."""
    try:
        return Recorder(path, head)
    except OSError as e:
        raise EdgeAgentError(f"{path}: cannot be recorded into: {e.strerror}; name a new file in a folder that is there") from e


def read(path: Path) -> Generator[Frame]:
    """The frames of a recording, the head first. EdgeAgentError if it is none of ours."""
    from zstandard import ZstdError

    frames = _frames(path)
    try:
        head = next(frames, None)
        if head is None or head[0] != "head" or head[1].get("version") != VERSION:
            raise EdgeAgentError(f"{path}: not a recording of version {VERSION}; record it anew with this version")
        yield head
        yield from frames
    except (ZstdError, msgspec.MsgspecError, KeyError, IndexError, TypeError) as e:
        raise EdgeAgentError(f"{path}: not a recording, or damaged ({e})") from e


def _frames(path: Path) -> Iterator[Frame]:
    """Whole frames; what was cut off at the end is left out."""
    held = bytearray()
    for plain in _plain(path):
        held += plain
        start = 0
        while len(held) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held, start)
            if length > _FRAME_MAX:
                raise EdgeAgentError(f"{path}: a frame of {length} bytes: not a recording, or damaged")
            end = start + _LENGTH.size + length
            if end > len(held):
                break
            yield list(_decode(bytes(held[start + _LENGTH.size : end])))
            start = end
        del held[:start]


def _plain(path: Path) -> Iterator[bytes]:
    """What the file decompresses to. Not through zstandard's reader: that holds the last blocks of a cut-off file back."""
    import zstandard

    stream = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield stream.decompress(chunk)
            if stream.eof:
                return
