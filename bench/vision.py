"""What does a picture cost from the camera to the gate, beside bare OpenCV and ONNX Runtime?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.agent import HOME, running
from bench.measure import Spread, ratio
from bench.report import Goal, Section, Table
from edge_agent.diagnose import build

FPS, SIDE = 30, 224
_CONFIG = """
version: 1
agent: {{name: eye, owner: bench, state: {state}}}
models: {{unsigned: true}}
connectors:
  camera: {{type: camera, file: {video}}}
tags:
  surface: {{from: camera}}
loops:
  one:
    mode: advise
    perceive: {{tags: [surface], window: 1}}
    diagnose: {{model: {bundle}}}
    decide:
      policy: rules
      states: {{normal: [{{when: "score > 0.999", go: alarm}}], alarm: [{{when: "score < 0.3", go: normal}}]}}
"""
_BARE = """
import json, sys, time, cv2, numpy as np, onnxruntime as ort
video, model, side, fps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
cv2.setNumThreads(1)
options = ort.SessionOptions(); options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
camera, count, begin, cpu = cv2.VideoCapture(video), 0, time.monotonic(), time.process_time()
while count < 5 * fps:
    there, frame = camera.read()
    if not there: break
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)[None, None]
    session.run(["p"], {"picture": small})
    count += 1
    time.sleep(max(0.0, begin + count / fps - time.monotonic()))
print(json.dumps({"frames": count, "cpu": time.process_time() - cpu}))
"""


def _network() -> onnx.ModelProto:
    """Four convolutions, a mean, two labels: picture [N, 1, 224, 224] to p [N, 2]."""
    random = np.random.default_rng(2)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)

    widths = [1, 16, 32, 64, 96]
    constants = [weights(f"w{i}", widths[i + 1], widths[i], 3, 3) for i in range(4)]
    constants += [numpy_helper.from_array(np.array(255.0, np.float32), "full"), weights("last", widths[-1], 2)]
    constants.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    nodes = [helper.make_node("Div", ["picture", "full"], ["x0"], name="x0")]
    for i in range(4):
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], name=f"c{i}", strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"x{i + 1}"], name=f"x{i + 1}"))
    nodes.append(helper.make_node("ReduceMean", ["x4", "axes"], ["mean"], name="mean", keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "last"], ["logits"], name="logits"))
    nodes.append(helper.make_node("Softmax", ["logits"], ["p"], name="p", axis=1))
    seen = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])]
    said = [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 2])]
    return helper.make_model(
        helper.make_graph(nodes, "bench", seen, said, constants), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )


def _bundle(folder: Path) -> Path:
    pictures = np.random.default_rng(1).integers(0, 255, (8, 1, SIDE, SIDE)).astype(np.float32)
    card = {
        "format": 1,
        "name": "bench-eye",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": ["good", "bad"], "normal": "good"},
        "window": {"rows": 1},
        "roles": [{"role": "picture"}],
        "picture": {"height": SIDE, "width": SIDE},
        "graph": {"window": "picture", "outputs": {"probabilities": "p"}},
        "intended": {"use": "benches", "tier": 1},
        "provenance": {"data": "made up", "data_licence": "CC0-1.0"},
    }
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch) / "fp32.onnx", Path(scratch) / "model.onnx"
        fp32.write_bytes(_network().SerializeToString())
        build.quantize(fp32, int8, [{"picture": pictures}])
        build.write(folder, card=card, model=int8, fp32=None, golden_inputs={"picture": pictures[:2]})
    return folder


def _video(file: Path, seconds: int) -> Path:
    """640 x 480 at 30 pictures a second, MJPEG, never two alike."""
    import cv2

    out = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (640, 480))
    base = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 255, (480, 640, 3), np.uint8), (9, 9), 3)
    for i in range(seconds * FPS):
        out.write(np.roll(base, 3 * i, axis=1))
    out.release()
    return file


def _ours(folder: Path, config: Path) -> dict[str, float]:
    with running(config, cores={0}) as agent:
        turns = _turns(agent.status())
        cpu, began = agent.cpu_s(), time.monotonic()
        time.sleep(5)
        spent, took = agent.cpu_s() - cpu, time.monotonic() - began
        status = agent.status()  # asked as late as the first time, so as many pictures later
        return {"frames": _turns(status) - turns, "cpu": spent, "s": took, "turn_s": status["loops"]["one"]["turn_s"]}


def _turns(status: dict[str, Any]) -> int:
    return int(status["loops"]["one"]["turns"])


def run(folder: Path, *, quick: bool) -> Section:
    """Ours and the bare script in turn, each playing the video at its own speed."""
    bundle, video = _bundle(folder / "eye"), _video(folder / "belt.avi", 25)
    found: dict[str, list[float]] = {key: [] for key in ("ours", "bare", "core", "fps", "turn")}
    for i in range(2 if quick else 3):
        config = folder / f"eye-{i}.yaml"
        config.write_text(_CONFIG.format(state=folder / f"state-{i}", video=video, bundle=bundle))
        said = _ours(folder, config)
        found["ours"].append(1e3 * said["cpu"] / max(said["frames"], 1))
        found["core"].append(said["cpu"] / said["s"])
        found["fps"].append(said["frames"] / said["s"])
        found["turn"].append(1e3 * said["turn_s"])
        command = ["taskset", "-c", "0", sys.executable, "-c", _BARE, str(video), str(bundle / "model.onnx"), str(SIDE), str(FPS)]
        done = subprocess.run(command, cwd=HOME, capture_output=True, check=True, timeout=60)
        bare = json.loads(done.stdout.splitlines()[-1])
        found["bare"].append(1e3 * bare["cpu"] / bare["frames"])
    cost, core = ratio(found["ours"], found["bare"]), Spread.of(found["core"])
    return Section(
        title="Vision",
        about=f"MJPEG of 640x480 at {FPS}/s from a file, made grey and {SIDE}x{SIDE}, an INT8 CNN of four convolutions. Ours: the watch for dark, blurred and "
        "frozen pictures, quality, worker, rules, ledger; the floor: VideoCapture, resize, session.run.",
        goals=[
            Goal(target="frame to gate <= 1.15 of bare OpenCV + ORT (CPU a picture)", reached=cost.text(), met=cost.middle <= 1.15),
            Goal(
                target="30 frames/s of 640x480 in <= 70 % of one core",
                reached=f"{core.middle:.0%} at {Spread.of(found['fps']).text('frames/s')}",
                met=core.middle <= 0.7 and min(found["fps"]) >= 0.95 * FPS,
            ),
        ],
        tables=[
            Table(
                columns=("who", "CPU ms a picture", "ms from the cut window to the end of its turn"),
                rows=[
                    ("edge-agent", Spread.of(found["ours"]).text(), Spread.of(found["turn"]).text()),
                    ("OpenCV + ORT by hand", Spread.of(found["bare"]).text(), "-"),
                ],
            )
        ],
    )
