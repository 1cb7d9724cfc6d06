"""The mains go off at any moment: is everything that was acknowledged still there, and nothing damaged?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("power_driver.py")
Figure = Callable[..., None]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("mounts")]


def cut(memory: Path, points: int, *, variant: str = "full", seconds: float = 1.5, seed: int = 1) -> dict[str, Any]:
    """Record a writer, then cut. In a mount namespace of its own: whatever happens, nothing stays mounted."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, DRIVER]
    done = subprocess.run(
        [*command, memory / variant, str(points), str(seed), variant, str(seconds)],
        capture_output=True, text=True, timeout=60 + 2 * points, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["points"] == points
    assert found["unmountable"] == 0, "the file system itself is the kernel's affair; ours is what lies on it"
    assert found["kinds"] == ["A", "F", "S"]
    assert found["checked"] > 20 * points, "progress was made"
    assert found["unflushed"] > points / 5, "the disk's cache held something; of a hundred points about sixty, so ask for 20 or more"
    return found


def keeps_everything(memory: Path, points: int, seconds: float, figure: Figure) -> None:
    found = cut(memory, points, seconds=seconds)
    assert found["lost"] == []
    assert found["corrupt"] == []
    figure("power cut", points=points, acknowledged=found["acks"], lost=0, corrupt=0, writes=found["entries"])


def control_loses(memory: Path, variant: str, points: int, figure: Figure) -> None:
    """Without the fsync it must lose: else the fault does not bite."""
    found = cut(memory, points, variant=variant)
    assert found["lossy_points"] > points / 5
    figure(f"power cut, control {variant}", points=points, lossy=found["lossy_points"])


def test_power_cuts_cost_nothing_that_was_acknowledged(memory: Path, figure: Figure) -> None:
    keeps_everything(memory, 25, 1.5, figure)


def test_a_ledger_that_commits_without_fsync_loses(memory: Path, figure: Figure) -> None:
    control_loses(memory, "normal", 20, figure)


@pytest.mark.torture
@pytest.mark.timeout(1500)
def test_five_hundred_power_cuts_cost_nothing_that_was_acknowledged(memory: Path, figure: Figure) -> None:
    keeps_everything(memory, 500, 12.0, figure)


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", ["normal", "rename"])
def test_without_fsync_of_commits_or_of_replaced_files_something_is_lost(memory: Path, variant: str, figure: Figure) -> None:
    control_loses(memory, variant, 100, figure)
