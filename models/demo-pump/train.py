"""How is the demo pump's bundle made? Simulate, train, quantize, measure, write. One command, the same figures each time.

    python models/demo-pump/train.py            needs the extra `train`; about a minute on one core

The plant of edge_agent/demo runs headless; the windows are what an agent would see of it: values with noise, published now and then,
held on a grid. Runs are split by seed: no window of a training run, nor a neighbour of one, is ever in the test set.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from edge_agent.demo.plc import SCAN_S  # noqa: E402
from edge_agent.demo.simulation import Simulation  # noqa: E402
from edge_agent.diagnose import build, trust  # noqa: E402
from edge_agent.diagnose.card import Envelope  # noqa: E402

ROLES = [
    {"role": "flow", "unit": "l/min", "range": [0.0, 60.0]},
    {"role": "pressure_in", "unit": "bar", "range": [-1.0, 3.0]},
    {"role": "pressure_out", "unit": "bar", "range": [-1.0, 4.0]},
    {"role": "current", "unit": "A", "range": [0.0, 2.0]},
    {"role": "vibration", "unit": "m/s2", "range": [0.0, 100.0]},
    {"role": "speed", "unit": "rpm", "range": [0.0, 3600.0]},
]
SIGNALS = ("flow", "pressure_in", "pressure_out", "current", "vibration", "speed")
LABELS = ("normal", "restriction", "cavitation", "imbalance", "leak")
ROWS, EVERY_S = 16, 0.5
GRID = round(EVERY_S / SCAN_S)  # scans from row to row, and from block to block
RUN_S = 60.0
SPLITS = {"train": (0, 360), "calibration": (10_000, 60), "test": (20_000, 150)}  # first seed, runs


@dataclass
class Run:
    """One simulated minute: rows [C, T], what was true at each row, and how it was driven."""

    kind: str
    rows: NDArray[np.float32]
    truth: list[str]


# ---------------------------------------------------------------- the plant, as an agent sees it


def drive(simulation: Simulation, kind: str, rng: np.random.Generator) -> Iterator[None]:
    """Let one story happen, scan by scan: something goes wrong after a while, is perhaps relieved by a trim, and is mended."""
    plc, faults = simulation.plc, simulation.faults
    begin, relieve, mend = rng.uniform(5, 20), rng.uniform(24, 34), rng.uniform(42, 50)
    severity, ramp = rng.uniform(0.2, 1.0), rng.uniform(0.5, 15.0)
    trim = float(rng.integers(-40, 1)) * 10.0 if rng.random() < 0.7 else 0.0
    if kind in ("restriction", "cavitation"):
        severity = rng.uniform(0.45, 0.95)
    story = {
        "normal": [],
        "operator": [
            (begin, lambda: setattr(plc, "base", float(rng.uniform(2500, 3100)))),
            (mend, lambda: faults.inject("discharge_valve", severity=rng.uniform(0, 0.4), ramp_s=ramp)),
        ],
        "restriction": [(begin, lambda: faults.inject("suction_valve", severity=severity, ramp_s=ramp))],
        "cavitation": [(begin, lambda: faults.inject("cavitation", severity=severity, ramp_s=ramp))],
        "imbalance": [(begin, lambda: faults.inject("imbalance", severity=max(0.3, severity), ramp_s=ramp))],
        "leak": [(begin, lambda: faults.inject("leak", severity=max(0.3, severity), ramp_s=ramp))],
    }[kind]
    story = [*story, (relieve, lambda: plc.write_trim(trim)), (mend, lambda: faults.clear(ramp) if kind != "operator" else None)]
    if rng.random() < 0.5:
        story.append((rng.uniform(mend, RUN_S), lambda: plc.write_trim(0.0)))
    for scan in range(round(RUN_S / SCAN_S)):
        for at, act in story:
            if scan == round(at / SCAN_S):
                act()
        plc.write_lease(scan + 1)
        simulation.scan()
        yield


def simulate(seed: int) -> Run:
    """One run: nodes are published every other scan, blocks and rows every fifth, each with a phase of its own."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 2])))
    kind = ("normal", "operator", "restriction", "cavitation", "imbalance", "leak", "restriction", "normal")[seed % 8]
    simulation = Simulation(seed, base_rpm=float(rng.uniform(2500, 3100)), demand=float(rng.uniform(0.9, 1.1)))
    node_phase, block_phase, row_phase = int(rng.integers(2)), int(rng.integers(GRID)), int(rng.integers(GRID))
    seen = {name: float("nan") for name in SIGNALS}
    rows, truth = [], []
    for scan, _ in enumerate(drive(simulation, kind, rng)):
        if scan % 2 == node_phase:
            seen |= {name: simulation.readings[name].value for name in SIGNALS if name != "vibration"}
        if scan % GRID == block_phase:
            block = simulation.block()
            seen["vibration"] = float(np.sqrt(np.mean(block.astype(np.float64) ** 2)))
        if scan % GRID == row_phase and scan >= GRID:
            rows.append([seen[name] for name in SIGNALS])
            truth.append(simulation.condition())
    return Run(kind, np.array(rows, np.float32).T, truth)


def cut(run: Run) -> tuple[NDArray[np.float32], list[str]]:
    """All windows of a run [N, C, ROWS], and the truth at the end of each; "between" unless it has been so for a second."""
    ends = range(ROWS - 1, run.rows.shape[1])
    windows = np.stack([run.rows[:, end - ROWS + 1 : end + 1] for end in ends])
    return windows, [run.truth[e] if len(set(run.truth[e - 2 : e + 1])) == 1 else "between" for e in ends]


def gather(split: str) -> tuple[list[Run], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Runs of a split, their windows with a sure label, the labels, and all windows."""
    first, count = SPLITS[split]
    runs = [simulate(first + i) for i in range(count)]
    cuts = [cut(run) for run in runs]
    windows = np.concatenate([w for w, _ in cuts])
    truth = np.array([t for _, ts in cuts for t in ts])
    sure = np.isin(truth, LABELS)
    return runs, windows[sure], np.array([LABELS.index(t) for t in truth[sure]], np.int64), windows


# ---------------------------------------------------------------- the network


def fit(windows: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], NDArray[np.float32]]:
    """A small 1-D CNN: weights, and the mean and scale [1, C, 1] that go into the graph."""
    import torch
    from torch import nn

    torch.manual_seed(7)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    mean = windows.mean(axis=(0, 2), keepdims=True)
    scale = windows.std(axis=(0, 2), keepdims=True)
    x, y = torch.from_numpy((windows - mean) / scale), torch.from_numpy(labels)
    net = nn.Sequential(
        nn.Conv1d(len(SIGNALS), 16, 3),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * (ROWS - 4), 32),
        nn.ReLU(),
        nn.Linear(32, len(LABELS)),
    )
    loss = nn.CrossEntropyLoss(label_smoothing=0.01)
    epochs, size = 30, 256
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(size):
            optimizer.zero_grad()
            loss(net(x[part]), y[part]).backward()
            optimizer.step()
        schedule.step()
    state = {key: value.numpy().astype(np.float32) for key, value in net.state_dict().items()}
    return state, mean.astype(np.float32), scale.astype(np.float32)


def graph(state: dict[str, NDArray[np.float32]], mean: NDArray[np.float32], scale: NDArray[np.float32], path: Path) -> None:
    """The network as ONNX, written node by node: raw units in, probabilities out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    names = {"0": "conv1", "2": "conv2", "5": "dense1", "7": "dense2"}
    constants = {f"{names[key.split('.')[0]]}_{key.split('.')[1]}": value for key, value in state.items()} | {"mean": mean, "scale": scale}
    nodes = [
        helper.make_node("Sub", ["window", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "conv1_weight", "conv1_bias"], ["c1"], name="conv1"),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "conv2_weight", "conv2_bias"], ["c2"], name="conv2"),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "dense1_weight", "dense1_bias"], ["d1"], name="dense1", transB=1),
        helper.make_node("Relu", ["d1"], ["r3"]),
        helper.make_node("Gemm", ["r3", "dense2_weight", "dense2_bias"], ["logits"], name="dense2", transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["N", len(SIGNALS), ROWS])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(LABELS)])
    whole = helper.make_graph(nodes, "demo-pump", [window], [answer], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], producer_name="models/demo-pump/train.py", ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


# ---------------------------------------------------------------- figures


def probabilities(path: Path, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a graph says of windows [N, C, W], as the agent would run it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"window": part})[0] for part in np.array_split(windows, max(1, len(windows) // 4096))])


def measure(path: Path, runs: list[Run], windows: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Per window: accuracy, recalls. Per run: how long until three windows in a row say cavitation, and false ones per hour."""
    found = probabilities(path, windows).argmax(axis=1)
    figures = {"accuracy": float((found == labels).mean())}
    for i, label in enumerate(LABELS):
        figures[f"recall_{label}"] = float((found[labels == i] == i).mean())
    delays, missed, false, calm_s = [], 0, 0, 0.0
    for run in runs:
        cuts, _ = cut(run)
        said = probabilities(path, cuts)
        loud = (said.argmax(axis=1) == LABELS.index("cavitation")) & (1 - said[:, 0] > 0.8)
        alarm = np.convolve(loud, [1, 1, 1])[: len(loud)] == 3
        true = np.array([t == "cavitation" for t in run.truth[ROWS - 1 :]])
        unsure = np.array([t == "between" for t in run.truth[ROWS - 1 :]])
        near = np.convolve(true | unsure, np.ones(2 * ROWS + 1), "same") > 0
        calm_s += float((~near).sum() * EVERY_S)
        false += int((alarm & ~near).sum())
        onset = int(true.argmax())
        if true.sum() >= 10 and onset:
            after = np.flatnonzero(alarm[onset:])
            missed += not len(after)
            delays += [after[0] * EVERY_S] if len(after) else []
    figures |= {
        "delay_median_s": float(np.median(delays)),
        "delay_p95_s": float(np.quantile(delays, 0.95)),
        "cavitations": float(len(delays) + missed),
        "missed": float(missed),
        "false_alarms_per_hour": false / calm_s * 3600,
    }
    return {key: round(value, 4) for key, value in figures.items()}


def broken_sensors(envelope: dict[str, Any], windows: NDArray[np.float32], limit: float) -> dict[str, float]:
    """Share of windows that the novelty gate holds back: untouched ones, and ones with a broken sensor."""
    familiar = trust.Familiarity(Envelope.model_validate_json(json.dumps(envelope)))
    some = windows[:: max(1, len(windows) // 500)]

    def held(change: Any) -> float:
        return round(float(np.mean([familiar.novelty(change(w.copy())) >= limit for w in some])), 4)

    def to(channel: int, value: float) -> Any:
        def change(window: NDArray[np.float32]) -> NDArray[np.float32]:
            window[channel] = value
            return window

        return change

    def shifted(channel: int, by: float) -> Any:
        def change(window: NDArray[np.float32]) -> NDArray[np.float32]:
            window[channel] += by
            return window

        return change

    return {
        "novel_untouched": held(lambda w: w),
        "novel_flow_zero": held(to(0, 0.0)),
        "novel_pressure_in_open_circuit": held(to(1, -1.0)),
        "novel_pressure_out_off_by_1_bar": held(shifted(2, 1.0)),
        "novel_current_zero": held(to(3, 0.0)),
        "novel_speed_off_by_600_rpm": held(shifted(5, 600.0)),
    }


# ---------------------------------------------------------------- the bundle


def card(envelope: dict[str, Any], fp32: dict[str, float], int8: dict[str, float]) -> dict[str, Any]:
    """All that the agent must know about this model."""
    return {
        "format": 1,
        "name": "demo-pump",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": list(LABELS), "normal": "normal"},
        "window": {"rows": ROWS, "every": f"{EVERY_S:g} s"},
        "roles": ROLES,
        "graph": {"window": "window", "outputs": {"probabilities": "probabilities"}},
        "smoothing": {"median": 1},
        "thresholds": {"alarm": 0.8, "confidence": 0.5, "novelty": NOVELTY},
        "envelope": envelope,
        "intended": {
            "use": "The make-believe pump of edge_agent/demo: names cavitation, a restricted suction, imbalance and a leak; may lower the speed by a bounded trim.",
            "not_for": "Any real pump. It has only ever seen simulated data.",
            "tier": 1,
        },
        "provenance": {
            "data": "Simulated by edge_agent/demo (no recorded data): 60 s runs at 2500..3100 rpm, trims to -400 rpm, faults of all severities.",
            "data_licence": "Apache-2.0",
            "split": "By seed of the run: " + ", ".join(f"{name} {first}..{first + count - 1}" for name, (first, count) in SPLITS.items()),
            "code": "models/demo-pump/train.py",
            "licence": "Apache-2.0",
        },
        "metrics": {
            "protocol": "150 held-out runs. Per window with a sure label: accuracy, recall. Per run: time from true cavitation (noise above 0.45) to the third "
            "window in a row that says cavitation with score > 0.8; false ones in calm hours. novel_*: share held back by the novelty gate.",
            "fp32": fp32,
            "int8": int8,
        },
        "golden": {"rtol": 0.02, "atol": 0.02},
    }


NOVELTY = 0.999


def main() -> None:
    """Make the bundle beside this file, or elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=HERE)
    into = parser.parse_args().into
    _, windows, labels, every = gather("train")
    print(f"train: {len(labels)} windows, " + ", ".join(f"{name} {int((labels == i).sum())}" for i, name in enumerate(LABELS)))
    state, mean, scale = fit(windows, labels)
    _, calibration, _, _ = gather("calibration")
    envelope = build.envelope(every, margin=0.1, reach=1.15)
    runs, test, truth, _ = gather("test")
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        graph(state, mean, scale, fp32)
        build.quantize(fp32, int8, [{"window": part} for part in np.array_split(calibration, len(calibration) // 64)])
        held = broken_sensors(envelope, test, NOVELTY)
        figures = {"fp32": measure(fp32, runs, test, truth), "int8": measure(int8, runs, test, truth) | held}
        spread = np.concatenate([np.flatnonzero(truth == i)[:: max(1, int((truth == i).sum()) // 5)][:5] for i in range(len(LABELS))])
        build.write(into, card=card(envelope, **figures), model=int8, fp32=fp32, golden_inputs={"window": test[spread]})
    for name, values in figures.items():
        print(name, values)


if __name__ == "__main__":
    main()
