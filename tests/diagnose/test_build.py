"""Does a recipe get a whole bundle, the same every time, whose INT8 model says what the FP32 model says?"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.diagnose import build, bundle
from edge_agent.diagnose.session import open_session
from edge_agent.errors import ModelRefused


def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path, tiny: SimpleNamespace) -> None:
    first, second = tiny.write(tmp_path / "a"), tiny.write(tmp_path / "b")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_a_written_bundle_leaves_the_recipe_alone_and_drops_the_old_signature(tmp_path: Path, tiny: SimpleNamespace) -> None:
    folder = tiny.write(tmp_path / "tiny")
    (folder / "train.py").write_text("print('how it was made')")
    (folder / "manifest.sig").write_text("of an older build")
    tiny.write(folder)
    assert (folder / "train.py").exists()
    assert not (folder / "manifest.sig").exists()


def test_a_bundle_that_the_agent_would_refuse_cannot_be_written(tmp_path: Path, tiny: SimpleNamespace) -> None:
    made = tiny.model([tiny.node("RandomNormalLike", ["window"], ["noise"])])
    with pytest.raises(ModelRefused, match="RandomNormalLike"):
        tiny.write(tmp_path / "tiny", made)


def conv(tiny: SimpleNamespace) -> object:
    weights = np.random.default_rng(1).normal(size=(4, 3, 3)) * 0.3
    nodes = [
        tiny.node("Conv", ["window", "w"], ["h"], pads=[1, 1]),
        tiny.node("Relu", ["h"], ["r"]),
        tiny.node("ReduceMean", ["r", "axes"], ["score"], keepdims=0),
    ]
    return tiny.model(nodes, [tiny.tensor("w", weights), tiny.tensor("axes", [1, 2], np.int64)], outputs=[tiny.value("score", ["N"])])


@pytest.mark.slow
def test_the_int8_model_is_admitted_and_says_what_the_fp32_model_says(tmp_path: Path, tiny: SimpleNamespace) -> None:
    fp32, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    fp32.write_bytes(conv(tiny).SerializeToString())  # type: ignore[attr-defined]
    windows = tiny.windows(64, spread=2.0)
    build.quantize(fp32, int8, [{"window": w[None]} for w in windows])
    assert b"DequantizeLinear" in int8.read_bytes()
    here, there = (open_session(f.read_bytes(), f.name).run(["score"], {"window": windows})[0] for f in (fp32, int8))
    assert np.abs(here - there).max() < 0.02 * np.abs(here).max()
    card = tiny.card(graph={"outputs": {"score": "score"}})
    build.write(tmp_path / "both", card=card, model=int8, fp32=fp32, golden_inputs={"window": windows[:8]})
    assert bundle.read(tmp_path / "both", dev=True).fp32 == fp32.read_bytes()


def test_the_runtime_leaves_no_trace_at_home_and_opens_no_socket(tmp_path: Path, folder: Path) -> None:
    """The PyPI build of onnxruntime looks for a collector and keeps a device id under HOME unless it is told not to."""
    code = f"""
import asyncio, os
from functools import partial
from pathlib import Path
from edge_agent.diagnose import bundle
from edge_agent.diagnose.runtime import InProcessRuntime
async def main():
    runtime = InProcessRuntime(partial(bundle.read, dev=True))
    await runtime.load(Path({str(folder)!r}))
asyncio.run(main())
sockets = [l for fd in os.listdir("/proc/self/fd") if (l := os.path.realpath("/proc/self/fd/" + fd)).startswith("socket:")]
print(len(sockets), len(os.listdir("/proc/self/task")))
"""
    home = tmp_path / "home"
    home.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))} | {"HOME": str(home), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=30, capture_output=True, text=True)
    assert done.stdout.split()[0] == "0"
    assert list(home.iterdir()) == []
