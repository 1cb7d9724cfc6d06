"""Train, evaluate, quantize and write the pump-valve bundle from the SKAB runs: python train.py --data SKAB/data

The data (github.com/waico/SKAB, GPL-3.0, doi 10.34740/KAGGLE/DSV/1693952) are not part of this project. Needs the extra `train`.
Split: by whole runs, five folds; no row number, no time and no temperature (both drift with the time since start and act as a
clock) enters the model. Judged causally: a random 0-300 rows are cut from the start of each run, the next 200 rows are the
baseline that the agent learns on site, everything after them is tested.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from edge_agent.diagnose import build, trust
from edge_agent.diagnose.card import Envelope
from edge_agent.diagnose.session import open_session

HERE = Path(__file__).parent
# column in the CSV, role, unit, what such a sensor can show, smallest believable spread (typical spread of a quiet run)
CHANNELS = [
    (1, "vibration1", "g", (0.0, 2.0), 0.002),
    (2, "vibration2", "g", (0.0, 2.0), 0.002),
    (3, "current", "A", (0.0, 20.0), 0.35),
    (4, "pressure", "bar", (-2.0, 10.0), 0.02),
    (7, "voltage", "V", (0.0, 400.0), 9.3),
    (8, "flow", "l/min", (-10.0, 200.0), 0.3),
]
ROWS, BASELINE, SMOOTH, THRESHOLD, NOVELTY = 60, 200, 5, 0.5, 0.999
FLOOR = np.array([c[4] for c in CHANNELS])
FOLDS, EPOCHS, SEED = 5, 10, 0
Run = tuple[np.ndarray, np.ndarray]


def load(file: Path) -> Run:
    with file.open() as f:
        rows = list(csv.reader(f, delimiter=";"))[1:]
    values = np.array([[float(r[c[0]]) for c in CHANNELS] for r in rows])
    return values, np.array([float(r[9]) if len(r) > 9 else 0.0 for r in rows])


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
    """1-D convolutions over the window in baseline units, squeezed to keep 3 and 300 sigma apart."""

    def __init__(self, channels: int = len(CHANNELS), width: int = 24) -> None:
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv1d(channels, width, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(),
        )
        self.judge = nn.Sequential(nn.Linear(3 * width, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def logit(self, z: torch.Tensor) -> torch.Tensor:
        z = torch.clamp(z, -20.0, 20.0)
        f = self.features(torch.sign(z) * torch.log(1.0 + torch.abs(z)))
        return self.judge(torch.cat([f.mean(2), f.amax(2), f[:, :, -1]], 1))[:, 0]

    def forward(self, window: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.logit((window - base[:, 0].unsqueeze(2)) / base[:, 1].unsqueeze(2)))


def windows_for(runs: list[Run], quiet: Run, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [cut(run, int(s), 3) for run in runs for s in rng.integers(0, 300, 4) if not run[1][: s + BASELINE].any()]
    parts += [cut((quiet[0][s : s + 900], np.zeros(900)), 0, 6) for s in rng.integers(0, len(quiet[0]) - 900, 20)]
    w, b, y = (np.concatenate(p) for p in zip(*parts))
    return w, b, y


def train(runs: list[Run], quiet: Run, rng: np.random.Generator) -> Net:
    w, b, y = windows_for(runs, quiet, rng)
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


def export(net: Net, file: Path) -> None:
    example = (torch.zeros(1, len(CHANNELS), ROWS), torch.ones(1, 2, len(CHANNELS)))
    names = {"window": {0: "n"}, "baseline": {0: "n"}, "score": {0: "n"}}
    torch.onnx.export(net, example, str(file), input_names=["window", "baseline"], output_names=["score"],
                      dynamic_axes=names, opset_version=17, dynamo=False)


def quantized(net: Net, windows: np.ndarray, bases: np.ndarray, folder: Path, name: str) -> tuple[Path, Path]:
    fp32, int8 = folder / f"{name}.fp32.onnx", folder / f"{name}.int8.onnx"
    export(net, fp32)
    pick = np.linspace(0, len(windows) - 1, 512).astype(int)
    build.quantize(fp32, int8, [{"window": windows[i : i + 1], "baseline": bases[i : i + 1]} for i in pick])
    return fp32, int8


def scores(model: Path, windows: np.ndarray, bases: np.ndarray) -> np.ndarray:
    return open_session(model.read_bytes(), model.name).run(["score"], {"window": windows, "baseline": bases})[0]


def running_median(x: np.ndarray) -> np.ndarray:
    return np.array([np.median(x[max(0, i - SMOOTH + 1) : i + 1]) for i in range(len(x))])


def judge(results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    alarm = [running_median(s) > THRESHOLD for s, _ in results]
    truth = [y > 0 for _, y in results]
    a, t = np.concatenate(alarm), np.concatenate(truth)
    first = [np.flatnonzero(x[y]) for x, y in zip(alarm, truth) if y.any()]
    hours = (~t).sum() / 3600
    starts = sum(int((np.diff((x & ~y).astype(int)) == 1).sum()) for x, y in zip(alarm, truth))
    return {
        "f1": float(2 * (a & t).sum() / (a.sum() + t.sum())),
        "false_alarm_rate": float((a & ~t).sum() / (~t).sum()),
        "missed_alarm_rate": float((~a & t).sum() / t.sum()),
        "median_delay_s": float(np.median([f[0] if len(f) else 1e9 for f in first])),
        "missed_events": float(sum(len(f) == 0 for f in first)),
        "events": float(len(first)),
        "false_episodes_per_hour": float(starts / hours),
    }


def envelope(windows: np.ndarray, bases: np.ndarray) -> dict[str, object]:
    """What the model knows: normal windows and known faults, and half as far again."""
    return build.envelope(windows, baselines=bases, correlated=False, reach=1.5, margin=1.0)


def refused(known: dict[str, object], windows: np.ndarray, bases: np.ndarray) -> float:
    """Share of windows that the novelty gate would not let act."""
    familiar = trust.Familiarity(Envelope.model_validate_json(json.dumps(known)))
    return float(np.mean([familiar.novelty(w, b) >= NOVELTY for w, b in zip(windows, bases)]))


def evaluate(runs: dict[str, Run], quiet: Run, scratch: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Five folds by run: figures of FP32 and INT8, and what the novelty gate refuses of held-out and of foreign windows."""
    rng = np.random.default_rng(SEED)
    names = list(runs)
    rng.shuffle(names)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"fp32": [], "int8": []}
    clean, foreign = [], []
    for k in range(FOLDS):
        held = names[k::FOLDS]
        rest = [runs[n] for n in names if n not in held]
        net = train(rest, quiet, rng)
        w, b, _ = windows_for(rest, quiet, rng)
        files = dict(zip(found, quantized(net, w, b, scratch, f"fold{k}")))
        known = envelope(w, b)
        for name in held:
            for start in rng.integers(0, 300, 4) if not runs[name][1][:500].any() else [0]:
                windows, bases, y = cut(runs[name], int(start))
                for kind, file in files.items():
                    found[kind].append((scores(file, windows, bases), y))
                some = slice(None, None, 10)
                clean.append(refused(known, windows[y == 0][some], bases[y == 0][some]))
                foreign.append(refused(known, windows[some] * 3, bases[some]))
        print(f"fold {k + 1}/{FOLDS}: tested on {', '.join(held)}", flush=True)
    novelty = {"refused_clean": float(np.mean(clean)), "refused_other_scale": float(np.mean(foreign))}
    return judge(found["fp32"]) | novelty, judge(found["int8"]) | novelty


def card(runs: int, fp32: dict[str, float], int8: dict[str, float], known: dict[str, object]) -> dict[str, object]:
    return {
        "format": 1,
        "name": "pump-valve",
        "version": "1.0.0",
        "head": {"type": "anomaly"},
        "window": {"rows": ROWS, "every": "1 s"},
        "roles": [{"role": r, "unit": u, "range": list(span)} for _, r, u, span, _ in CHANNELS],
        "graph": {"window": "window", "baseline": "baseline", "outputs": {"score": "score"}},
        "baseline": {"rows": BASELINE, "centre": "median", "scale": "mad", "floor": FLOOR.tolist()},
        "smoothing": {"median": SMOOTH},
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
            "split": f"whole runs, {FOLDS} folds; the shipped model is trained on all {runs} labelled runs",
            "code": "models/pump-valve/train.py",
            "licence": "Apache-2.0 (code); the data's licence is named above",
        },
        "metrics": {
            "protocol": "causal, by run; random 0-300 rows cut, 200 rows baseline, rest tested; median of 5 s, alarm above 0.5",
            "fp32": {k: round(v, 4) for k, v in fp32.items()},
            "int8": {k: round(v, 4) for k, v in int8.items()},
        },
        "golden": {"rtol": 0.02, "atol": 0.02},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="SKAB's data folder")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    runs = {f"{d}/{f.stem}": load(f) for d in ("valve1", "valve2", "other") for f in sorted((args.data / d).glob("*.csv"))}
    quiet = load(args.data / "anomaly-free" / "anomaly-free.csv")
    scratch = Path(tempfile.mkdtemp())
    try:
        fp32, int8 = evaluate(runs, quiet, scratch)
        for name, figures in (("fp32", fp32), ("int8", int8)):
            print(name, {k: round(v, 3) for k, v in figures.items()})
        rng = np.random.default_rng(SEED)
        net = train(list(runs.values()), quiet, rng)
        w, b, y = windows_for(list(runs.values()), quiet, rng)
        files = quantized(net, w, b, scratch, "final")
        spread = envelope(w, b)
        pick = np.concatenate([np.flatnonzero(y == 0)[:: max(1, int((y == 0).sum() // 8))][:8], np.flatnonzero(y == 1)[:: max(1, int((y == 1).sum() // 8))][:8]])
        build.write(args.out, card=card(len(runs), fp32, int8, spread), model=files[1], fp32=files[0],
                    golden_inputs={"window": w[pick], "baseline": b[pick]})
        print(f"written to {args.out}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
