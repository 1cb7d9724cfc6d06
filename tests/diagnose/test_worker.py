"""Does a bad model take nothing with it but its own answer?"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from select import select
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.diagnose.runtime import InProcessRuntime
from edge_agent.diagnose.worker import WorkerRuntime
from edge_agent.errors import ModelRefused

pytestmark = pytest.mark.anyio


@pytest.fixture
async def worker(tiny: SimpleNamespace) -> AsyncIterator[WorkerRuntime]:
    runtime = WorkerRuntime(tiny.read)
    yield runtime
    await runtime.close()


@pytest.fixture
def slow(tmp_path: Path, tiny: SimpleNamespace) -> Path:
    """A bundle whose one long kernel takes far longer than the deadlines of these tests."""
    size = 768
    nodes = [
        tiny.node("ReduceMean", ["window", "all"], ["mean"], keepdims=1),
        tiny.node("Mul", ["mean", "square"], ["a"]),
        tiny.node("MatMul", ["a", "square"], ["b"]),
        tiny.node("MatMul", ["b", "square"], ["c"]),
        tiny.node("ReduceMean", ["c", "all"], ["score"], keepdims=0),
    ]
    constants = [tiny.tensor("square", np.full((size, size), 1e-3)), tiny.tensor("all", [1, 2], np.int64)]
    made = tiny.model(nodes, constants, outputs=[tiny.value("score", ["N"])])
    folder: Path = tiny.write(
        tmp_path / "slow", made, {"window": tiny.windows(1)}, name="slow", graph={"outputs": {"score": "score"}}, golden={"rtol": 0.1}
    )
    return folder


async def test_worker_and_in_process_give_the_same_bytes(
    folder: Path, worker: WorkerRuntime, in_process: InProcessRuntime, tiny: SimpleNamespace
) -> None:
    await worker.load(folder)
    await in_process.load(folder)
    for batch in (1, 5, 64):
        feeds = {"window": tiny.windows(batch, spread=3.0, seed=batch)}
        here, there = await in_process.run(folder, feeds, 5), await worker.run(folder, feeds, 5)
        assert here.keys() == there.keys()
        assert all(here[name].tobytes() == there[name].tobytes() for name in here)


async def test_a_late_model_is_killed_and_the_others_go_on(folder: Path, slow: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    await worker.load(folder)
    await worker.load(slow)
    first = worker.status()["pid"]
    with pytest.raises(TimeoutError, match=r"slow@1\.0\.0: no answer within 0\.005 s"):
        await worker.run(slow, {"window": tiny.windows(1)}, 0.005)
    found = await worker.run(folder, {"window": tiny.windows(1)}, 30)
    assert np.isfinite(found["score"]).all()
    status = worker.status()
    assert status["pid"] != first
    assert (status["late"], status["crashes"], status["starts"]) == (1, 0, 2)
    assert status["models"][str(slow)]["strikes"] == 1


async def test_a_model_that_is_late_again_stands_aside(folder: Path, slow: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    await worker.load(folder)
    await worker.load(slow)
    for _ in range(2):
        await worker.run(folder, {"window": tiny.windows(1)}, 30)  # waits until the worker is up again
        with pytest.raises(TimeoutError):
            await worker.run(slow, {"window": tiny.windows(1)}, 0.005)
    with pytest.raises(RuntimeError, match="stands aside for"):
        await worker.run(slow, {"window": tiny.windows(1)}, 5)


async def test_while_one_model_computes_another_s_deadline_names_the_culprit(
    folder: Path, slow: Path, worker: WorkerRuntime, tiny: SimpleNamespace
) -> None:
    await worker.load(folder)
    await worker.load(slow)
    async with asyncio.TaskGroup() as group:
        long = group.create_task(worker.run(slow, {"window": tiny.windows(1)}, 30))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match=r"busy with slow@1\.0\.0"):
            await worker.run(folder, {"window": tiny.windows(1)}, 0.002)
    assert long.result()["score"].shape == (1,)
    assert worker.status()["starts"] == 1


async def test_a_crash_in_a_run_is_that_run_s_failure_only(folder: Path, slow: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    await worker.load(folder)
    await worker.load(slow)

    async def crash() -> None:
        with pytest.raises(RuntimeError, match="killed by signal 9"):
            await worker.run(slow, {"window": tiny.windows(1)}, 30)

    async with asyncio.TaskGroup() as group:
        group.create_task(crash())
        await asyncio.sleep(0)
        os.kill(worker.status()["pid"], signal.SIGKILL)
    assert (await worker.run(folder, {"window": tiny.windows(1)}, 30))["score"].shape == (1,)
    assert worker.status()["crashes"] == 1


async def _kill_when_loading(worker: WorkerRuntime, times: int) -> None:
    """Each new worker, the moment it is given a model to load."""
    killed: set[int] = set()
    while len(killed) < times:
        keeper = worker._keeper
        if keeper is not None and keeper._loading is not None and keeper.pid is not None and keeper.pid not in killed:
            killed.add(keeper.pid)
            os.kill(keeper.pid, signal.SIGKILL)
        await asyncio.sleep(0)


@pytest.mark.parametrize("times", [2, 100])
async def test_a_worker_that_is_killed_while_it_loads_says_nothing_about_the_model(
    folder: Path, worker: WorkerRuntime, tiny: SimpleNamespace, times: int
) -> None:
    async with asyncio.TaskGroup() as group:
        killer = group.create_task(_kill_when_loading(worker, times))
        if times == 2:
            await worker.load(folder)
            assert (await worker.run(folder, {"window": tiny.windows(1)}, 30))["score"].shape == (1,)
        else:
            with pytest.raises(ModelRefused, match="killed 3 times while it loaded; is there memory enough"):
                await worker.load(folder)
        killer.cancel()


async def test_a_worker_that_dies_idle_is_replaced(folder: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    await worker.load(folder)
    old = worker.status()["pid"]
    death = os.pidfd_open(old)
    os.kill(old, signal.SIGKILL)
    select([death], [], [], 20)
    os.close(death)
    assert (await worker.run(folder, {"window": tiny.windows(1)}, 30))["score"].shape == (1,)
    assert worker.status()["pid"] != old


async def test_a_cancelled_caller_leaves_the_worker_in_order(slow: Path, worker: WorkerRuntime, tiny: SimpleNamespace) -> None:
    await worker.load(slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await worker.run(slow, {"window": tiny.windows(1)}, 30)
    assert (await worker.run(slow, {"window": tiny.windows(1)}, 30))["score"].shape == (1,)
    assert worker.status()["starts"] == 1


async def test_a_memory_bomb_is_refused_at_load_and_the_others_go_on(
    tmp_path: Path, folder: Path, tiny: SimpleNamespace, worker: WorkerRuntime
) -> None:
    """Small tensors whose broadcast has 2**34 elements: nothing that a walk over the file would find odd."""
    nodes = [
        tiny.node("Mul", ["column", "row"], ["square"]),
        tiny.node("ReduceMean", ["square"], ["huge"], keepdims=1),
        tiny.node("ReduceMean", ["window", "all"], ["mean"], keepdims=0),
        tiny.node("Reshape", ["huge", "flat"], ["one"]),
        tiny.node("Add", ["mean", "one"], ["score"]),
    ]
    side = 1 << 17
    constants = [
        tiny.tensor("column", np.ones((side, 1))),
        tiny.tensor("row", np.ones((1, side))),
        tiny.tensor("all", [1, 2], np.int64),
        tiny.tensor("flat", [1], np.int64),
    ]
    bomb = tmp_path / "bomb"
    outputs = {"outputs": {"score": "score"}}
    small = tiny.model(
        [tiny.node("ReduceMean", ["window", "all"], ["score"], keepdims=0)], constants[2:3], outputs=[tiny.value("score", ["N"])]
    )
    tiny.write(bomb, small, graph=outputs)
    (bomb / "model.onnx").write_bytes(tiny.model(nodes, constants, outputs=[tiny.value("score", ["N"])]).SerializeToString())
    tiny.reseal(bomb)
    await worker.load(folder)
    with pytest.raises(ModelRefused):
        await worker.load(bomb)
    assert (await worker.run(folder, {"window": tiny.windows(1)}, 30))["score"].shape == (1,)


@pytest.mark.parametrize("which", ["worker", "in_process"])
async def test_golden_vectors_that_do_not_come_out_are_refused(
    which: str, folder: Path, tiny: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    from edge_agent.diagnose import golden

    arrays = golden.load((folder / "golden.npz").read_bytes())
    arrays["out_score"] = arrays["out_score"] + np.float32(0.01)
    (folder / "golden.npz").write_bytes(golden.dump(arrays))
    tiny.reseal(folder)
    runtime = WorkerRuntime(tiny.read) if which == "worker" else InProcessRuntime(tiny.read)
    with pytest.raises(ModelRefused, match="on this processor where"):
        await runtime.load(folder)
    await runtime.close()


@pytest.mark.parametrize(
    ("feeds", "reason"),
    [
        ({"window": np.full((1, 3, 8), np.nan, np.float32)}, "NaN or infinity"),
        ({"window": np.full((1, 3, 8), np.inf, np.float32)}, "NaN or infinity"),
        ({"window": np.zeros((1, 3, 9), np.float32)}, r"expected float32 \[1, 3, 8\]"),
        ({"window": np.zeros((1, 3, 8))}, "expected float32"),
        ({"window": np.zeros((65, 3, 8), np.float32)}, "1 to 64 fit"),
        ({"door": np.zeros((1, 3, 8), np.float32)}, "the graph takes window"),
    ],
    ids=["NaN", "infinity", "shape", "float64", "batch", "name"],
)
async def test_wrong_feeds_never_reach_the_model(
    feeds: dict[str, np.ndarray], reason: str, folder: Path, in_process: InProcessRuntime
) -> None:
    await in_process.load(folder)
    with pytest.raises(ValueError, match=reason):
        await in_process.run(folder, feeds, 5)


async def test_nan_never_reaches_the_worker(folder: Path, worker: WorkerRuntime) -> None:
    await worker.load(folder)
    before = worker.status()["models"][str(folder)]["runs"]
    with pytest.raises(ValueError, match="NaN or infinity"):
        await worker.run(folder, {"window": np.full((1, 3, 8), np.nan, np.float32)}, 5)
    assert worker.status()["models"][str(folder)]["runs"] == before


async def test_a_model_that_was_not_loaded_is_a_failure(worker: WorkerRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is not loaded"):
        await worker.run(tmp_path, {}, 1)


async def test_the_worker_has_no_network_and_reports_home_to_nobody(folder: Path, worker: WorkerRuntime) -> None:
    await worker.load(folder)
    status = worker.status()
    process = Path(f"/proc/{status['pid']}")
    sockets = [link for fd in (process / "fd").iterdir() if (link := str(fd.readlink())).startswith("socket:")]
    assert len(sockets) == 1
    assert b"ORT_DISABLE_TELEMETRY=1" in (process / "environ").read_bytes().split(b"\0")
    assert (process / "status").read_text().split("Threads:")[1].split()[0] == "1"
    assert "dies with its parent" in status["protections"]
    assert "bounded memory" in status["protections"]


def test_the_sandbox_denies_sockets_and_programs() -> None:
    code = """
import os, socket, sys
from edge_agent.diagnose import sandbox
done = sandbox.enter(os.getppid()) + sandbox.close(1 << 28)
if "no sockets, no programs" not in done:
    sys.exit("this machine type is not known to the filter")
for attempt in (lambda: socket.socket(), lambda: os.execv("/bin/true", ["true"]), lambda: bytearray(1 << 30)):
    try:
        attempt()
    except (PermissionError, MemoryError):
        continue
    sys.exit("something forbidden was possible")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_no_worker_survives_its_agent(folder: Path) -> None:
    code = f"""
import asyncio, os, signal
from functools import partial
from pathlib import Path
from edge_agent.diagnose import bundle
from edge_agent.diagnose.worker import WorkerRuntime
async def main():
    runtime = WorkerRuntime(partial(bundle.read, dev=True))
    await runtime.load(Path({str(folder)!r}))
    print(runtime.status()["pid"], flush=True)
    input()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdin and agent.stdout
        orphan = os.pidfd_open(int(agent.stdout.readline()))
        agent.stdin.write("\n")
        agent.stdin.flush()
        gone, _, _ = select([orphan], [], [], 20)
        os.close(orphan)
    assert gone
