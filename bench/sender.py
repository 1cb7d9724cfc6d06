"""Who plays the plant? A bare MQTT 3.1.1 client on one socket: sends ready-made frames at a steady pace, and hears answers.

python -m bench.sender SPEC.json    runs one in a process of its own; what it saw goes into the file that `out` names
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LONGEST_BEHIND_S = 0.25
_LAST_ANSWER_S = 15.0


def packet(head: int, body: bytes) -> bytes:
    """One MQTT packet."""
    length, size = bytearray(), len(body)
    while True:
        size, digit = size >> 7, size & 0x7F
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([head]) + bytes(length) + body


def text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def publish(topic: str, payload: bytes, mid: int = 0) -> bytes:
    """A PUBLISH; QoS 1 with a packet identifier."""
    return packet(0x32 if mid else 0x30, text(topic) + (mid.to_bytes(2, "big") if mid else b"") + payload)


@dataclass(slots=True)
class Plant:
    """One connection to the broker."""

    port: int
    name: str
    echo: str = ""  # topic on which a command is told to have been taken
    sock: socket.socket = field(init=False)
    rest: bytes = b""
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # when (ns), payload

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(packet(0x10, text("MQTT") + bytes([4, 2]) + (600).to_bytes(2, "big") + text(self.name)))
        if self.sock.recv(4)[:1] != b"\x20":
            raise RuntimeError("the broker refuses")

    def subscribe(self, topic: str) -> None:
        """Hear a topic."""
        self.sock.sendall(packet(0x82, b"\x00\x01" + text(topic) + b"\x00"))
        self.sock.recv(16)

    def hear(self, wait_s: float) -> None:
        """Take in what comes within `wait_s`."""
        if not select.select([self.sock], [], [], max(wait_s, 0))[0]:
            return
        data = self.rest + self.sock.recv(65536)
        now = time.monotonic_ns()
        while (cut := _whole(data)) is not None:
            head, body, data = cut
            if head & 0xF0 == 0x30:
                size = int.from_bytes(body[:2], "big")
                payload = body[2 + size + (2 if head & 6 else 0) :]
                self.answers.append((now, payload))
                if self.echo:
                    self.sock.sendall(publish(self.echo, payload))
        self.rest = data

    def send(self, frames: Sequence[bytes], *, per_second: float, burst: int = 1) -> list[int]:
        """Send the frames at a steady pace, `burst` at a time, hearing between them; when each burst left (ns)."""
        left: list[int] = []
        begin = time.monotonic()
        for i in range(0, len(frames), burst):
            due = begin + i / per_second
            while (wait := due - time.monotonic()) > 0:
                self.hear(wait)
            if -wait > _LONGEST_BEHIND_S:
                begin += -wait  # the machine was away: do not make up for it with a flood
            left.append(time.monotonic_ns())
            self.sock.sendall(b"".join(frames[i : i + burst]) if burst > 1 else frames[i])
        return left

    def flood(self, frames: Sequence[bytes]) -> None:
        """Send as fast as the broker takes them."""
        for i in range(0, len(frames), 500):
            self.sock.sendall(b"".join(frames[i : i + 500]))
            self.hear(0)


def _whole(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Head, body, and what follows; None while the packet is not complete."""
    if len(data) < 2:
        return None
    size = shift = 0
    for at in range(1, min(5, len(data))):
        size |= (data[at] & 0x7F) << shift
        shift += 7
        if not data[at] & 0x80:
            end = at + 1 + size
            return (data[0], data[at + 1 : end], data[end:]) if end <= len(data) else None
    return None


def pumps(count: int, channels: int, seconds: int) -> Iterator[bytes]:
    """One JSON message per pump and second with a value for each of its channels, for as long as told."""
    draw = random.Random(3)
    topics = [f"plant/p{i:04d}/state" for i in range(count)]
    for _ in range(seconds):
        for topic in topics:
            values = ",".join(f'"c{c}":{draw.gauss(10, 1):.3f}' for c in range(channels))
            yield publish(topic, f"{{{values}}}".encode())


def wave(count: int, *, rate: float, flips: Sequence[int], qos: int = 0, name: str = "p1") -> list[bytes]:
    """Messages of about 120 bytes from one sensor; its level changes at the messages that `flips` names (from 0)."""
    draw, level, at = random.Random(4), 9.5, set(flips)
    begin_ns, step_ns = time.time_ns() + 200_000_000, 1e9 / rate
    frames = []
    for i in range(count):
        level = 20.0 - level if i in at else level
        said = f'{{"t":{begin_ns + int(i * step_ns)},"v":{level + draw.uniform(-0.4, 0.4):.4f},"q":"good","sensor":"p1-vib-de","unit":"mm/s","n":"{i:08d}"}}'
        frames.append(publish(f"plant/{name}/x", said.encode(), mid=i % 65535 + 1 if qos else 0))
    return frames


def _wave(spec: dict[str, Any]) -> dict[str, Any]:
    """Send a wave and wait for the answer to its last flip."""
    name, flips, rate = spec.get("name", "p1"), spec["flips"], spec["rate"]
    plant = Plant(spec["port"], f"plant-{name}", echo=f"plant/{name}/sw")
    plant.subscribe(f"plant/{name}/set")
    frames = wave(spec["count"], rate=rate or 50_000, flips=flips, qos=spec.get("qos", 0), name=name)
    plant.sock.sendall(publish(f"plant/{name}/sw", b'{"v": 0}'))
    began = time.monotonic_ns()
    left = []
    if rate:
        left = plant.send(frames, per_second=rate, burst=spec["burst"])
    else:
        plant.flood(frames)
    sent = time.monotonic_ns()
    deadline = time.monotonic() + _LAST_ANSWER_S
    while len(plant.answers) < len(flips) and time.monotonic() < deadline:
        plant.hear(0.05)
    for _ in range(10):  # what the broker still has to say is read: a socket closed before that takes what it has sent back
        plant.hear(0.05)
    flipped = [left[i // spec["burst"]] for i in flips] if left else []
    return {"began": began, "sent": sent, "flipped": flipped, "answers": [at for at, _ in plant.answers]}


def main() -> None:
    """Send what the specification says."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    if spec.get("kind") == "wave":
        Path(spec["out"]).write_text(json.dumps(_wave(spec)))
        return
    plant = Plant(spec["port"], spec.get("name", "plant"))
    frames = list(pumps(spec["pumps"], spec["channels"], spec["seconds"]))
    plant.send(frames, per_second=spec["pumps"], burst=max(1, spec["pumps"] // 200))


if __name__ == "__main__":
    main()
