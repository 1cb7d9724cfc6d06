"""A bit flips on the disk, anywhere in the ledger's files: is it noticed, or harmless? Never a crash, never a silent change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("flip_driver.py")
Figure = Callable[..., None]


def flips(folder: Path, count: int, *options: str, seed: int = 1) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, DRIVER, folder, str(count), str(seed), *options],
        capture_output=True, text=True, timeout=60 + count, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert sum(found.get(kind, 0) for kind in ("detected", "harmless", "BAD")) == count
    return found


def all_noticed(memory: Path, count: int, figure: Figure) -> None:
    found = flips(memory, count)
    assert not found["bad"], "\n".join(found["bad"])
    assert found["detected"] > count / 5, "the bits matter"
    figure("bit flips", flips=count, detected=found["detected"], harmless=found["harmless"], unnoticed=0, crashes=0)


def control_is_fooled(memory: Path, count: int, figure: Figure) -> None:
    """Without hashes changes go unseen: else the fault does not bite."""
    found = flips(memory, count, "blind")
    assert found["BAD"] > count / 50
    figure("bit flips, control without hashes", flips=count, unnoticed=found["BAD"])


@pytest.mark.timeout(120)
def test_flipped_bits_are_noticed_or_harmless(memory: Path, figure: Figure) -> None:
    all_noticed(memory, 300, figure)


def test_without_hashes_flipped_bits_change_what_is_shown(memory: Path, figure: Figure) -> None:
    control_is_fooled(memory, 60, figure)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_ten_thousand_flipped_bits_are_noticed_or_harmless(memory: Path, figure: Figure) -> None:
    all_noticed(memory, 10_000, figure)


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_without_hashes_a_thousand_flipped_bits_change_what_is_shown(memory: Path, figure: Figure) -> None:
    control_is_fooled(memory, 1000, figure)
