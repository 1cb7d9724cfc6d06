"""Does the agent take the session that was measured on this box, and only for the very bundle it was measured for?"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.diagnose.session import chosen_file, chosen_threads
from edge_agent.diagnose.worker import WorkerRuntime

needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has no second thread to choose")


def choose(folder: Path, **said: Any) -> None:
    chosen_file(folder).write_text(json.dumps(said))


@needs_two
def test_the_choice_holds_for_its_own_bundle_only(tmp_path: Path) -> None:
    choose(tmp_path / "tiny", bundle="abc", threads=2)
    assert chosen_threads(tmp_path / "tiny", "abc") == 2
    assert chosen_threads(tmp_path / "tiny", "another version") == 1


@pytest.mark.parametrize(
    "said",
    [{}, {"bundle": "abc"}, {"bundle": "abc", "threads": 0}, {"bundle": "abc", "threads": 9999}, {"bundle": "abc", "threads": "two"}],
)
def test_a_choice_that_makes_no_sense_is_one_thread(said: dict[str, Any], tmp_path: Path) -> None:
    choose(tmp_path / "tiny", **said)
    assert chosen_threads(tmp_path / "tiny", "abc") == 1


def test_no_choice_and_a_damaged_one_are_one_thread(tmp_path: Path) -> None:
    assert chosen_threads(tmp_path / "tiny", "abc") == 1
    chosen_file(tmp_path / "tiny").write_bytes(b"\xff{")
    assert chosen_threads(tmp_path / "tiny", "abc") == 1


@needs_two
@pytest.mark.anyio
async def test_the_worker_runs_with_the_chosen_threads(folder: Path, tiny: SimpleNamespace) -> None:
    async def tasks() -> int:
        runtime = WorkerRuntime(tiny.read)
        try:
            await runtime.load(folder)
            await runtime.run(folder, {"window": tiny.windows(1)}, 5.0)
            return len(os.listdir(f"/proc/{runtime.status()['pid']}/task"))  # noqa: PTH208
        finally:
            await runtime.close()

    alone = await tasks()
    choose(folder, bundle=tiny.read(folder).hash, threads=2)
    assert await tasks() == alone + 1
