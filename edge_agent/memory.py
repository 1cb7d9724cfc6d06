"""What does a loop remember over a restart? Its baseline, the model version that was armed last, and whether it was armed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_agent.lifecycle.durable import replace_file


@dataclass(slots=True)
class Memory:
    """One loop's. `armed_at_ns` and `armed_until_ns` are wall time; None: not armed, or taken back by a person. `armed_as` says
    what was armed."""

    model: str = ""
    baseline: list[list[float]] | None = None
    armed_version: tuple[int, ...] = ()
    armed_at_ns: int = 0
    armed_until_ns: int | None = None
    armed_as: str = ""


class Memories:
    """One small file a loop in `folder`, replaced whole, so that a power cut leaves the old or the new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, loop: str) -> Memory:
        """What was saved; an empty memory if nothing was, or if the file is damaged (then it observes and learns anew)."""
        try:
            return msgspec.json.decode((self._folder / f"{loop}.json").read_bytes(), type=Memory)
        except (OSError, msgspec.DecodeError):
            return Memory()

    def save(self, loop: str, memory: Memory) -> None:
        """On disk when it returns. OSError if it cannot be."""
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._folder / f"{loop}.json", msgspec.json.encode(memory))
