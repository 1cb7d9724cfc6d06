"""Where do the benches get a broker and a PLC? Servers of their own on free ports of the loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.agent import HOME, end


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextlib.contextmanager
def broker(folder: Path, *, nodelay: bool = False, cores: set[int] | None = None) -> Iterator[int]:
    """A stock mosquitto (Nagle on, as installed) with long queues; its port."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    port = free_port()
    config = folder / f"mosquitto-{port}.conf"
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "max_queued_messages 0",
        "max_inflight_messages 1000",
        "persistence false",
    ]
    config.write_text("\n".join([*lines, f"set_tcp_nodelay {'true' if nodelay else 'false'}", "log_type error", ""]))
    process = subprocess.Popen(
        [program, "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.02)
        yield port
    finally:
        end(process)


@contextlib.contextmanager
def opcua_server(*, nodes: int, rate: int, cores: set[int] | None = None) -> Iterator[int]:
    """An OPC UA server whose nodes v0, v1 ... change `rate` times a second in all; its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.opcua_server", str(port), str(nodes), str(rate)],
        cwd=HOME,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    try:
        if process.stdout is None or process.stdout.readline().strip() != b"READY":
            raise RuntimeError("the OPC UA server did not start")
        yield port
    finally:
        end(process)
