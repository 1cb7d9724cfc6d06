"""What does a loop remember over a restart? Its baseline, the model version that was armed last, and whether it was armed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_agent.lifecycle.durable import replace_file


@dataclass(slots=True)
class Memory:
    """One loop's. `armed_until_ns` is wall time; None: not armed, or taken back by a person."""

    model: str = ""
    baseline: list[list[float]] | None = None
    armed_version: tuple[int, ...] = ()
    armed_until_ns: int | None = None


class Memories:
    """One small file a loop in `folder`, replaced whole, so that a power cut leaves the old or the new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, loop: str) -> Memory:
        """What was saved; an empty memory if nothing was, or if the file is damaged (then it observes and learns anew)."""
        try:
            data: dict[str, Any] = json.loads((self._folder / f"{loop}.json").read_bytes())
            return Memory(**{**data, "armed_version": tuple(data.get("armed_version", ()))})
        except (OSError, ValueError, TypeError):
            return Memory()

    def save(self, loop: str, memory: Memory) -> None:
        """On disk when it returns. OSError if it cannot be."""
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._folder / f"{loop}.json", json.dumps(asdict(memory)).encode())
