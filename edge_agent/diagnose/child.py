"""What runs inside the worker process? `python -m edge_agent.diagnose.child SOCKET PARENT MEMORY`: load a graph, run it, say so."""

from __future__ import annotations

import array
import gc
import json
import os
import socket
import sys
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any

from edge_agent.diagnose import sandbox


def main() -> None:
    """Serve until the parent closes its end."""
    descriptor, parent, memory = (int(a) for a in sys.argv[1:4])
    protections = sandbox.enter(parent)
    from edge_agent.diagnose import handoff
    from edge_agent.diagnose.session import warm_import

    warm_import()
    protections += sandbox.close(memory)
    sock = socket.socket(fileno=descriptor)
    sock.send(handoff.REPLY.pack(handoff.READY, 0, 0) + ", ".join(protections).encode())
    gc.collect()
    gc.freeze()
    _Server(sock).serve()


class _Server:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._graphs: dict[int, _Graph] = {}

    def serve(self) -> None:
        from edge_agent.diagnose.handoff import DONE, FAILED, LOAD, MOST_WINDOWS, REPLY, REQUEST, UNLOAD

        buffer = bytearray(REQUEST.size + MOST_WINDOWS)
        room = socket.CMSG_SPACE(3 * 4)
        while True:
            size, ancillary, _, _ = self._sock.recvmsg_into([buffer], room)
            if not size:
                return
            what, slot, number, batch = REQUEST.unpack_from(buffer)
            if what == UNLOAD:
                self._graphs.pop(slot, None)
                continue
            try:
                if what == LOAD:
                    self._graphs.pop(slot, None)
                    self._graphs[slot] = _Graph(array.array("i", ancillary[0][2]))
                reply = REPLY.pack(DONE, number, self._graphs[slot].run(buffer[REQUEST.size : size] or (batch,)))
            except Exception as e:  # noqa: BLE001 - the runtime's errors share no base class; the parent counts and reports it
                reply = REPLY.pack(FAILED, number, 0) + f"{type(e).__name__}: {e}".encode()[:500]
            self._sock.send(reply)


class _Graph:
    def __init__(self, descriptors: array.array[int]) -> None:
        from edge_agent.diagnose.handoff import Layout, mapped
        from edge_agent.diagnose.session import open_session

        try:
            specification = json.loads(mapped(descriptors[0], writable=False)[:])
            self._session = open_session(
                mapped(descriptors[1], writable=False)[:], specification["name"], threads=specification.get("threads", 1)
            )
            self._inputs, self._outputs = Layout.read(specification).views(mapped(descriptors[2], writable=True))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._names = list(self._outputs)
        self._single = [self._bind(0)]

    def _bind(self, at: int) -> Any:
        """One window, straight from and into the shared memory: the common case, without a copy."""
        binding = self._session.io_binding()
        for name, view in self._inputs.items():
            binding.bind_cpu_input(name, view[at : at + 1])
        for name, view in self._outputs.items():
            row = view[at : at + 1]
            binding.bind_output(name, "cpu", 0, row.dtype.type, row.shape, row.ctypes.data)
        return binding

    def run(self, cuts: Iterable[int]) -> int:
        """Run the graph once for each cut, a number of windows; the time that took."""
        begin, at = perf_counter_ns(), 0
        for count in cuts:
            if count == 1:
                self._session.run_with_iobinding(self._one(at))
            else:
                self._run_many(at, at + count)
            at += count
        return perf_counter_ns() - begin

    def _one(self, at: int) -> Any:
        while at >= len(self._single):
            self._single.append(self._bind(len(self._single)))
        return self._single[at]

    def _run_many(self, start: int, end: int) -> None:
        outputs = self._session.run(self._names, {name: view[start:end] for name, view in self._inputs.items()})
        for view, output in zip(self._outputs.values(), outputs, strict=True):
            if output.shape != (end - start, *view.shape[1:]) or output.dtype != view.dtype:
                raise ValueError(
                    f"an output is {output.dtype} {list(output.shape)}; the card says float32 {[end - start, *view.shape[1:]]}"
                )
            view[start:end] = output


if __name__ == "__main__":
    main()
