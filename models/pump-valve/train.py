"""Train, evaluate, quantize and write the pump-valve bundle from the SKAB runs: python train.py --data FOLDER

FOLDER holds SKAB's `data` (github.com/waico/SKAB, GPL-3.0, doi 10.34740/KAGGLE/DSV/1693952), which is not part of this project.
Needs the extra `train`; about five minutes. Split: by whole runs, five folds; no row number, no time and no temperature (both drift with the
time since start and act as a clock) enters the model. Judged causally (Protocol C): a random 0-300 rows are cut from the start of each run,
the next 200 rows are the baseline that the agent learns on site, everything after them is tested.

A window is seen twice: as a course (convolutions) and as means over the last 5, 12 and 30 rows against the baseline, so that a fault speaks
within seconds. Three networks vote; that smooths more, and costs no time, than a median over windows would.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from edge_agent.diagnose import build, foreign  # noqa: E402
from edge_agent.diagnose.card import Envelope  # noqa: E402
from edge_agent.diagnose.session import open_session  # noqa: E402
from edge_agent.lab import catalog, metrics, recipe  # noqa: E402
from edge_agent.lab.data import Episode  # noqa: E402
from edge_agent.lab.data import Run as Recorded  # noqa: E402

# column of the scenario, role, unit, what such a sensor can show, smallest believable spread (typical spread of a quiet run)
CHANNELS = [
    (0, "vibration1", "g", (0.0, 2.0), 0.002),
    (1, "vibration2", "g", (0.0, 2.0), 0.002),
    (2, "current", "A", (0.0, 20.0), 0.35),
    (3, "pressure", "bar", (-2.0, 10.0), 0.02),
    (6, "voltage", "V", (0.0, 400.0), 9.3),
    (7, "flow", "l/min", (-10.0, 200.0), 0.3),
]
ROWS, BASELINE, THRESHOLD, NOVELTY = 60, 200, 0.39, 0.999
FLOOR = np.array([c[4] for c in CHANNELS])
EPOCHS, VOTES, SEED = 10, 3, 0
QUIET = "anomaly-free/anomaly-free"
Run = tuple[np.ndarray, np.ndarray]


def columns(values: np.ndarray) -> np.ndarray:
    return values[:, [c[0] for c in CHANNELS]].astype(np.float64)


def load(run: Recorded) -> Run:
    return columns(run.values), (run.truth["state"] == "fault").astype(float)


def baseline(rows: np.ndarray) -> np.ndarray:
    centre = np.median(rows, axis=0)
    return np.stack([centre, np.maximum(1.4826 * np.median(np.abs(rows - centre), axis=0), FLOOR)]).astype(np.float32)


def cut(run: Run, start: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows [N, C, W] behind the baseline rows, their baselines [N, 2, C], the label of their last row."""
    values, labels = run[0][start:], run[1][start:]
    ends = np.arange(BASELINE, len(values), stride)
    windows = np.stack([values[e - ROWS + 1 : e + 1].T for e in ends]).astype(np.float32)
    return windows, np.repeat(baseline(values[:BASELINE])[None], len(ends), axis=0), labels[ends]


class Net(torch.nn.Module):
    """The window in baseline units, squeezed to keep 3 and 300 sigma apart: its course by convolutions, its last rows by plain means."""

    def __init__(self, channels: int = len(CHANNELS), width: int = 24) -> None:
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv1d(channels, width, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(),
        )
        self.judge = nn.Sequential(nn.Linear(3 * width + 5 * channels, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 1))

    def logit(self, z: torch.Tensor) -> torch.Tensor:
        z = torch.clamp(z, -20.0, 20.0)
        f = self.features(squeezed(z))
        short = [squeezed(z[:, :, ROWS - k :].mean(2) * k**0.5) for k in (5, 12, 30)]
        step = squeezed(3 * (z[:, :, ROWS - 10 :].mean(2) - z[:, :, :20].mean(2)))
        return self.judge(torch.cat([f.mean(2), f.amax(2), f[:, :, -1], *short, step, roughness(z[:, :, ROWS - 15 :])], 1))[:, 0]


def squeezed(z: torch.Tensor) -> torch.Tensor:
    return torch.sign(z) * torch.log(1.0 + torch.abs(z))


def roughness(z: torch.Tensor) -> torch.Tensor:
    off = z - z.mean(2, keepdim=True)
    return torch.log(torch.sqrt((off * off).mean(2) + 1e-6) + 0.1)


class Votes(torch.nn.Module):
    """Mean of what several networks, trained from other seeds, say."""

    def __init__(self, nets: Sequence[Net]) -> None:
        super().__init__()
        self.nets = torch.nn.ModuleList(nets)

    def forward(self, window: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        z = (window - base[:, 0].unsqueeze(2)) / base[:, 1].unsqueeze(2)
        return torch.stack([torch.sigmoid(net.logit(z)) for net in self.nets]).mean(0)


def windows_for(runs: list[Run], quiet: Run | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [cut(run, int(s), 3) for run in runs for s in rng.integers(0, 300, 4) if not run[1][: s + BASELINE].any()]
    if quiet is not None:
        parts += [cut((quiet[0][s : s + 900], np.zeros(900)), 0, 6) for s in rng.integers(0, len(quiet[0]) - 900, 20)]
    w, b, y = (np.concatenate(p) for p in zip(*parts))
    return w, b, y


def train(runs: list[Run], quiet: Run | None) -> tuple[Votes, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each vote sees other starts of the runs; also the windows of the first, to calibrate and to measure the envelope on."""
    material = [windows_for(runs, quiet, np.random.default_rng(seed)) for seed in range(VOTES)]
    return Votes([fitted(seed, *windows) for seed, windows in enumerate(material)]).eval(), material[0]


def fitted(seed: int, w: np.ndarray, b: np.ndarray, y: np.ndarray) -> Net:
    torch.manual_seed(seed)
    z = torch.tensor((w - b[:, 0, :, None]) / b[:, 1, :, None])
    target = torch.tensor(y, dtype=torch.float32) * 0.96 + 0.02
    net, loss = Net(), torch.nn.BCEWithLogitsLoss()
    steps = len(z) // 256
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for pick in torch.randperm(len(z))[: steps * 256].reshape(steps, 256):
            noisy = z[pick] * (1 + 0.15 * torch.randn(256, len(CHANNELS), 1))
            noisy = noisy + 0.5 * torch.randn(256, len(CHANNELS), 1) * (torch.rand(256, 1, 1) < 0.5)
            optimiser.zero_grad()
            loss(net.logit(noisy), target[pick]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def export(net: Votes, file: Path) -> None:
    example = (torch.zeros(1, len(CHANNELS), ROWS), torch.ones(1, 2, len(CHANNELS)))
    names = {"window": {0: "n"}, "baseline": {0: "n"}, "score": {0: "n"}}
    torch.onnx.export(net, example, str(file), input_names=["window", "baseline"], output_names=["score"],
                      dynamic_axes=names, opset_version=17, dynamo=False)


def quantized(net: Votes, windows: np.ndarray, bases: np.ndarray, folder: Path, name: str) -> tuple[Path, Path]:
    fp32, int8 = folder / f"{name}.fp32.onnx", folder / f"{name}.int8.onnx"
    export(net, fp32)
    pick = np.linspace(0, len(windows) - 1, 512).astype(int)
    build.quantize(fp32, int8, [{"window": windows[i : i + 1], "baseline": bases[i : i + 1]} for i in pick])
    return fp32, int8


def scores(model: Path, windows: np.ndarray, bases: np.ndarray) -> np.ndarray:
    return open_session(model.read_bytes(), model.name).run(["score"], {"window": windows, "baseline": bases})[0]


def heard(model: Path, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
    """Alarm and truth of each judged row, as the agent would say it: the baseline from the episode's first rows."""
    values, ends = columns(episode.values), np.arange(episode.first, len(episode.values))
    windows = np.stack([values[e - ROWS + 1 : e + 1].T for e in ends]).astype(np.float32)
    said = scores(model, windows, np.repeat(baseline(values[:BASELINE])[None], len(ends), axis=0))
    return said >= THRESHOLD, episode.truth["state"][ends] == "fault"


def envelope(windows: np.ndarray, bases: np.ndarray) -> dict[str, object]:
    """What the model knows: normal windows and known faults, and half as far again."""
    return build.envelope(windows, baselines=bases, reach=1.5, margin=0.5, log=True)


def normal_windows(episodes: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray]:
    """Every tenth judged window in which nothing is wrong, and its baseline."""
    parts = []
    for episode in episodes:
        windows, bases, labels = cut((columns(episode.values), (episode.truth["state"] == "fault").astype(float)), 0, 10)
        parts.append((windows[labels == 0], bases[labels == 0]))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def evaluate(recorded: Sequence[Recorded], quiet: Run, scratch: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Five folds by run: figures of FP32 and INT8 under Protocols C and A, and what the novelty gate refuses."""
    scenario, public = catalog.load("skab"), catalog.load("skab-a")
    found: dict[str, dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {kind: {"C": [], "A": []} for kind in ("fp32", "int8")}
    refusals = []
    for fold in scenario.folds(recorded):
        held = [r for r in recorded if r.name in fold.test]
        net, (w, b, _) = train([load(r) for r in recorded if r.name in fold.train and r.name != QUIET], quiet)
        for kind, file in zip(found, quantized(net, w, b, scratch, f"fold{fold.name[0]}")):
            found[kind]["C"] += [heard(file, e) for e in scenario.episodes(held)]
            found[kind]["A"] += [heard(file, e) for e in public.episodes(held)]
        windows, bases = normal_windows(scenario.episodes(held))
        refusals.append(foreign.figures(Envelope.model_validate_json(json.dumps(envelope(w, b))), NOVELTY, windows, baselines=bases))
        print(f"fold {fold.name}: tested on {', '.join(fold.test)}", flush=True)
    novelty = {k: float(np.mean([r[k] for r in refusals])) for k in refusals[0]}
    said = []
    for each in found.values():
        public_ = {f"{k}_protocol_a": v for k, v in metrics.detection(each["A"], 1.0).items() if k in ("f1", "false_alarm_rate", "missed_alarm_rate")}
        said.append({k: round(v, 4) for k, v in (metrics.detection(each["C"], 1.0) | public_ | novelty).items()})
    return said[0], said[1]


def card(recorded: Sequence[Recorded], fp32: dict[str, float], int8: dict[str, float], known: dict[str, object]) -> dict[str, object]:
    return {
        "format": 1,
        "name": "pump-valve",
        "version": "1.1.0",
        "head": {"type": "anomaly"},
        "window": {"rows": ROWS, "every": "1 s"},
        "roles": [{"role": r, "unit": u, "range": list(span)} for _, r, u, span, _ in CHANNELS],
        "graph": {"window": "window", "baseline": "baseline", "outputs": {"score": "score"}},
        "baseline": {"rows": BASELINE, "centre": "median", "scale": "mad", "floor": FLOOR.tolist()},
        "thresholds": {"alarm": THRESHOLD, "novelty": NOVELTY},
        "envelope": known,
        "intended": {
            "use": "a closing valve, a leak, imbalance or cavitation in a small water loop with one pump, about 1 row a second",
            "not_for": "other machines without a baseline of their own; anything safety-related; other sampling rates",
            "tier": 1,
        },
        "provenance": {
            "data": "SKAB v0.9, github.com/waico/SKAB commit b2c0d46c, doi 10.34740/KAGGLE/DSV/1693952",
            "data_licence": "GPL-3.0",
            "split": f"whole runs, 5 folds; the shipped model is trained on all {len(recorded)} runs at hand",
            "code": "models/pump-valve/train.py",
            "licence": "Apache-2.0 (code); the data's licence is named above",
            "runs": recipe.listed(recorded),
        },
        "metrics": {
            "protocol": f"Protocol C: causal, by run, five folds; random 0-300 rows cut, 200 rows baseline, rest tested; each window by itself, alarm from {THRESHOLD} on. "
            "*_protocol_a: rows 400 to the end of each run, same folds",
            "fp32": fp32,
            "int8": int8,
        },
        "golden": {"rtol": 0.02, "atol": 0.02},
    }


def main() -> None:
    args = recipe.arguments(__doc__, HERE).parse_args()
    torch.set_num_threads(1)
    recorded = recipe.runs("skab", args.data, recipe.withheld(args.without))
    labelled = [load(r) for r in recorded if r.name != QUIET]
    quiet = next((load(r) for r in recorded if r.name == QUIET), None)
    scratch = Path(tempfile.mkdtemp())
    try:
        fp32, int8 = ({}, {}) if args.without else evaluate(recorded, quiet, scratch)
        for name, figures in (("fp32", fp32), ("int8", int8)):
            print(name, figures)
        net, (w, b, y) = train(labelled, quiet)
        files = quantized(net, w, b, scratch, "final")
        spread = envelope(w, b)
        pick = np.concatenate([np.flatnonzero(y == 0)[:: max(1, int((y == 0).sum() // 8))][:8], np.flatnonzero(y == 1)[:: max(1, int((y == 1).sum() // 8))][:8]])
        build.write(args.out, card=card(recorded, fp32, int8, spread), model=files[1], fp32=files[0],
                    golden_inputs={"window": w[pick], "baseline": b[pick]})
        print(f"written to {args.out}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
