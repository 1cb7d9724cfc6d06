"""Which peers are measured, from which packages, and how are they told to do the same? Each in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def makers(folder: Path, port: int, *, cores: set[int] | None = None) -> dict[str, Callable[[], Any]]:
    return {}
