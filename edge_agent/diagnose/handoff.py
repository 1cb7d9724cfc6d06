"""How do tensors and words pass between the agent and its worker? Tensors lie in shared memory; a dozen bytes say whose turn it is.

Both sides map the same memfd. A request is REQUEST (with three descriptors for LOAD: specification, model, tensors; for RUN the
number of windows in each run of the graph, a byte each), a reply is REPLY and perhaps a text; one datagram each on a SOCK_SEQPACKET
pair, so a message is whole or not there.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOAD, RUN, UNLOAD = 1, 2, 3
DONE, FAILED, READY = 0, 1, 2

REQUEST = struct.Struct("<BxHII")  # what, slot, number of the request, batch
REPLY = struct.Struct("<BxxxIQ")  # how it ended, number of the request, ns in the runtime
LONGEST = 1024  # of one reply, bytes
MOST_WINDOWS = 64  # in one request

_ALIGN = 64
_SEAL_SHRINK_GROW = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each tensor lies in the shared memory. All float32, with room for `batch` windows."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    batch: int

    @classmethod
    def read(cls, specification: Mapping[str, Any]) -> Layout:
        """From the JSON of a LOAD."""
        shapes = ({n: tuple(s) for n, s in specification[key].items()} for key in ("inputs", "outputs"))
        return cls(inputs=next(shapes), outputs=next(shapes), batch=specification["batch"])

    def specification(self) -> dict[str, Any]:
        """For the JSON of a LOAD."""
        return {"inputs": dict(self.inputs), "outputs": dict(self.outputs), "batch": self.batch}

    @property
    def size(self) -> int:
        """Bytes of shared memory."""
        return sum(self._room(s) for s in (*self.inputs.values(), *self.outputs.values()))

    def views(self, memory: mmap.mmap) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """Inputs and outputs as arrays [batch, ...] upon the shared memory."""
        offset = 0
        found: list[dict[str, NDArray[np.float32]]] = []
        for shapes in (self.inputs, self.outputs):
            views = {}
            for name, shape in shapes.items():
                count = self.batch * math.prod(shape)
                views[name] = np.frombuffer(memory, np.float32, count, offset).reshape(self.batch, *shape)
                offset += self._room(shape)
            found.append(views)
        return found[0], found[1]

    def _room(self, shape: tuple[int, ...]) -> int:
        return -(-self.batch * math.prod(shape) * 4 // _ALIGN) * _ALIGN


def shared(size: int) -> int:
    """A descriptor of anonymous memory of exactly this size; it can neither shrink (SIGBUS on the other side) nor grow."""
    fd = os.memfd_create("edge-agent-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, max(size, 1))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEAL_SHRINK_GROW)
    return fd


def sealed(raw: bytes) -> int:
    """A descriptor of these very bytes, which nobody can change any more."""
    fd = os.memfd_create("edge-agent-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEAL_SHRINK_GROW | fcntl.F_SEAL_WRITE)
    return fd


def mapped(fd: int, *, writable: bool) -> mmap.mmap:
    """The memory behind a descriptor."""
    return mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
