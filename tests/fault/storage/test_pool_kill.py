"""Puller, API and ledger writer are killed in mid-batch, replies are dropped: is each record in the pool, and once?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("pool_driver.py")
Figure = Callable[..., None]


def killed(memory: Path, kills: int, *options: str, seed: int = 1) -> dict[str, Any]:
    command = [sys.executable, DRIVER, memory / "-".join(("kill", *options)), str(kills), str(seed), *options]
    log = memory / "log"
    with log.open("w") as err:  # a file, not a pipe: a forked process that outlives its parent must not hold us up
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=err, text=True, timeout=120 + 2 * kills, check=False)
    assert done.returncode == 0, log.read_text()[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["puller"] > kills / 2
    assert found["mid_batch"] > found["puller"] / 4, "the kills hit pulls that were half done"
    assert found["records"] > 20 * kills, "progress was made"
    return found


def once(memory: Path, kills: int, figure: Figure) -> dict[str, Any]:
    found = killed(memory, kills)
    for wrong in ("missing", "twice", "foreign", "out_of_order", "blobs_missing", "stray_files"):
        assert found[wrong] == 0, found
    shown = ("kills", "puller", "api", "writer", "mid_batch", "replies_dropped", "records", "blobs", "missing", "twice", "out_of_order")
    figure("exactly once in the pool", **{name: found.get(name, 0) for name in shown})
    return found


@pytest.mark.timeout(180)
def test_thirty_kills_and_each_record_is_in_the_pool_once(memory: Path, figure: Figure) -> None:
    once(memory, 30, figure)


@pytest.mark.control
@pytest.mark.timeout(300)
def test_a_puller_that_notes_its_place_first_loses(memory: Path, figure: Figure) -> None:
    found = killed(memory, 80, "careless", seed=2)
    assert found["missing"] > 0
    figure("exactly once in the pool, control that notes its place first", kills=80, missing=found["missing"])


@pytest.mark.torture
@pytest.mark.timeout(1500)
def test_five_hundred_kills_and_each_record_is_in_the_pool_once(memory: Path, figure: Figure) -> None:
    assert once(memory, 500, figure)["replies_dropped"] > 20
