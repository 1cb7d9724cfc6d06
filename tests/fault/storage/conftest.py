"""What the tests of disks and processes share: a place in memory for the disks that they make."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path[:0] = [str(Path(__file__).parent)]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the disk is what is being simulated, not what is waited for."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm", prefix="edge-agent-fault-") as folder:
        yield Path(folder)
