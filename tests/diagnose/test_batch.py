"""Is a window's answer the same in company as alone, and who pays when one of the company is bad?"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.diagnose import batch
from edge_agent.diagnose.batch import Request
from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.diagnose.worker import WorkerRuntime

pytestmark = pytest.mark.anyio


@pytest.fixture
async def worker(tiny: SimpleNamespace) -> AsyncIterator[WorkerRuntime]:
    runtime = WorkerRuntime(tiny.read)
    yield runtime
    await runtime.close()


def request_of(size: int, *, alone: bool = False) -> Request:
    loop = asyncio.get_running_loop()
    return Request(feeds={}, batch=size, timeout_s=1.0, deadline=loop.time() + 1.0, answer=loop.create_future(), alone=alone)


def of(worker: WorkerRuntime) -> dict[str, object]:
    found: dict[str, object] = next(iter(worker.status()["models"].values()))
    return found


async def at_once(runtime: WorkerRuntime, folder: Path, windows: np.ndarray) -> list[bytes]:
    """As many callers as windows, all in the same moment."""
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(runtime.run(folder, {"window": windows[i : i + 1]}, 30)) for i in range(len(windows))]
    return [b"".join(task.result()[name].tobytes() for name in sorted(task.result())) for task in asked]


async def alone(runtime: InProcessRuntime, folder: Path, windows: np.ndarray) -> list[bytes]:
    found = [await runtime.run(folder, {"window": windows[i : i + 1]}, 30) for i in range(len(windows))]
    return [b"".join(one[name].tobytes() for name in sorted(one)) for one in found]


@pytest.mark.parametrize("loops", [1, 2, 3, 37, 64, 150])
async def test_loops_that_share_a_model_get_the_bits_they_would_get_alone(
    loops: int, folder: Path, worker: WorkerRuntime, in_process: InProcessRuntime, tiny: SimpleNamespace
) -> None:
    for _ in range(2):
        await worker.load(folder)
    await in_process.load(folder)
    windows = tiny.windows(loops, spread=3.0, seed=loops)
    assert of(worker)["windows_share_runs"] is True
    assert await at_once(worker, folder, windows) == await alone(in_process, folder, windows)


async def test_many_windows_take_few_trips(folder: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    for _ in range(2):
        await worker.load(folder)
    before = worker.status()["trips"]
    await at_once(worker, folder, tiny.windows(64))
    assert worker.status()["trips"] - before <= 3


async def test_without_the_proof_windows_share_the_trip_but_not_the_run(
    folder: Path, worker: WorkerRuntime, in_process: InProcessRuntime, tiny: SimpleNamespace
) -> None:
    await worker.load(folder)
    await in_process.load(folder)
    windows = tiny.windows(20, spread=3.0)
    before = worker.status()["trips"]
    assert await at_once(worker, folder, windows) == await alone(in_process, folder, windows)
    assert of(worker)["windows_share_runs"] is False
    assert worker.status()["trips"] - before <= 3


async def test_a_graph_whose_rows_depend_on_their_company_is_found_out(
    tmp_path: Path, worker: WorkerRuntime, in_process: InProcessRuntime, tiny: SimpleNamespace
) -> None:
    """Its score is measured from the mean over the batch: a bad idea, but the answer must still be the window's own."""
    nodes = [
        tiny.node("ReduceMean", ["window", "all"], ["mean"], keepdims=0),
        tiny.node("ReduceMean", ["window", "every"], ["level"], keepdims=0),
        tiny.node("Sub", ["mean", "level"], ["score"]),
    ]
    constants = [tiny.tensor("all", [1, 2], np.int64), tiny.tensor("every", [0, 1, 2], np.int64)]
    made = tiny.model(nodes, constants, outputs=[tiny.value("score", ["N"])])
    one = tiny.windows(1)
    odd: Path = tiny.write(tmp_path / "odd", made, {"window": one}, graph={"outputs": {"score": "score"}})
    for _ in range(2):
        await worker.load(odd)
    await in_process.load(odd)
    assert of(worker)["windows_share_runs"] is False
    windows = tiny.windows(9, spread=3.0)
    assert await at_once(worker, odd, windows) == await alone(in_process, odd, windows)


async def test_a_bundle_is_loaded_once_until_its_folder_changes(folder: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    await worker.load(folder)
    first = worker.opened(folder)
    await worker.load(folder)
    assert worker.opened(folder) is first
    tiny.write(folder, version="1.0.1")
    await worker.load(folder)
    assert worker.opened(folder).card.version == "1.0.1"


async def test_a_deadline_that_passes_while_waiting_is_counted_and_ends_nobody(
    folder: Path, worker: WorkerRuntime, tiny: SimpleNamespace
) -> None:
    await worker.load(folder)
    with pytest.raises(TimeoutError, match="waited 0 s for the worker"):
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(folder, {"window": tiny.windows(1)}, 30))
            await asyncio.sleep(0)
            try:
                await worker.run(folder, {"window": tiny.windows(1)}, 0.0)
            except TimeoutError as e:
                late = e
        raise late
    assert of(worker)["missed_deadlines"] == 1
    assert worker.status()["starts"] == 1


async def test_a_trip_takes_the_oldest_that_fit() -> None:
    queue = deque([request_of(30), request_of(30), request_of(30)])
    assert [r.batch for r in batch.take(queue, room=64, window_ns=1000, now=0.0)] == [30, 30]
    assert len(queue) == 1


async def test_a_trip_of_slow_windows_stays_short() -> None:
    queue = deque([request_of(1) for _ in range(20)])
    assert len(batch.take(queue, room=64, window_ns=1_000_000, now=0.0)) == 5


async def test_who_failed_in_company_goes_alone() -> None:
    queue = deque([request_of(1), request_of(1, alone=True), request_of(1)])
    assert [len(batch.take(queue, room=64, window_ns=1000, now=0.0)) for _ in range(3)] == [1, 1, 1]


async def test_whom_nobody_waits_for_stays_at_home() -> None:
    queue = deque([request_of(1), request_of(1)])
    queue[0].answer.cancel()
    assert len(batch.take(queue, room=64, window_ns=1000, now=0.0)) == 1
    assert not queue


@pytest.mark.parametrize(
    ("sizes", "shared", "expected"),
    [
        ([1] * 37, True, [32, 4, 1]),
        ([1] * 3, False, [1, 1, 1]),
        ([1, 1, 6, 1], True, [2, 6, 1]),
        ([6], True, [6]),
    ],
)
async def test_single_windows_share_runs_of_powers_of_two(sizes: list[int], shared: bool, expected: list[int]) -> None:
    assert batch.cuts([request_of(size) for size in sizes], shared=shared) == expected
