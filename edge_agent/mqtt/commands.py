"""What bytes is a write, and which number does it carry? Sequence numbers grow across restarts."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import PlantError
from edge_agent.messages import Scalar
from edge_agent.mqtt.address import Publish
from edge_agent.mqtt.envelope import seal

_RESERVE = 1000  # numbers taken from the file at once: one write to disk for a thousand commands


class Numbers:
    """Numbers that only grow, for one connector. Kept in a file; where that is lost, the wall clock in ms takes its place."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self._next = self._end = 0

    def take(self) -> int:
        """The next number. PlantError where it cannot be kept: a number used twice is a command refused."""
        if self._next >= self._end:
            self._reserve()
        number, self._next = self._next, self._next + 1
        return number

    def _reserve(self) -> None:
        start = max(self._end, self._stored(), self._clock.wall_ns() // 1_000_000 if not self._end else 0)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            with fresh.open("w") as out:
                out.write(str(start + _RESERVE))
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._file)
            folder = os.open(self._file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as e:
            raise PlantError(f"{self._file}: {e.strerror}; without it no command can be numbered; mend the folder") from e
        self._next, self._end = start, start + _RESERVE

    def _stored(self) -> int:
        try:
            return int(self._file.read_text())
        except (OSError, ValueError):
            return 0


def payload(value: Scalar, publish: Publish, *, seq: Numbers, clock: Clock, by: str) -> bytes:
    """The bytes of one command. ValueError for a value that no JSON can carry."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is no value to send")
    issued_ms = clock.wall_ns() // 1_000_000
    if publish.envelope is not None:
        return seal(value, publish.topic, publish.envelope, seq=seq.take(), issued_ms=issued_ms, expiry_s=publish.expiry, by=by)
    if publish.template is not None:
        return _fill(publish.template, value, issued_ms, publish.expiry).encode()
    if publish.key is not None:
        return json.dumps({publish.key: value}, separators=(",", ":")).encode()
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def call_payload(arguments: Sequence[Scalar], publish: Publish, *, seq: Numbers, clock: Clock) -> bytes:
    """The bytes of one call. ValueError where the arguments are not those of the configuration."""
    names = publish.arguments or []
    if len(names) != len(arguments) or any(isinstance(a, float) and not isfinite(a) for a in arguments):
        raise ValueError(
            f"{len(arguments)} arguments {list(arguments)}; the call takes {', '.join(names) or 'none: it has no `arguments:`'}"
        )
    issued_ms = clock.wall_ns() // 1_000_000
    said = dict(zip(names, arguments, strict=True)) | {"seq": seq.take(), "issued_ms": issued_ms}
    return json.dumps(said | {"expires_ms": issued_ms + int(publish.expiry * 1000)}, separators=(",", ":")).encode()


def _fill(template: str, value: Scalar, issued_ms: int, expiry_s: float) -> str:
    """`$value` last: nothing inside a text value is filled in."""
    names = {
        "$issued_ms": str(issued_ms),
        "$expires_ms": str(issued_ms + int(expiry_s * 1000)),
        "$id": f'"{secrets.token_hex(8)}"',
        "$value": json.dumps(value),
    }
    for name, text in names.items():
        template = template.replace(name, text)
    return template
