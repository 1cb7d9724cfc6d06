"""Train, evaluate, quantize and write the rotor-imbalance bundle: python train.py --data FOLDER

FOLDER holds accelerometer.csv (UCI "Accelerometer", id 846; not part of this project). Needs the extra `train`; about four minutes.
Windows of 2 s, 3 x 100 samples. Split by whole speeds: no window of a judged speed, nor anything made from one, is seen in training.
The level of each axis (gravity, tilt of the mount) tells the recording session, not the fan: the graph takes it out first.

In the graph: spectra by a fixed Fourier matrix, where the rotation's line lies and how strong it is on each axis, its harmonics, the
phase between axes, band powers, RMS, kurtosis, crest, skewness. Judge: kernel ridge regression (a Gaussian process' mean) on landmarks,
scaled to probabilities; far from all landmarks it says one third each. Windows played faster or slower stand for speeds between.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from sklearn.metrics import f1_score, roc_auc_score

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from edge_agent.diagnose import build, foreign  # noqa: E402
from edge_agent.diagnose.card import Envelope  # noqa: E402
from edge_agent.diagnose.session import open_session  # noqa: E402
from edge_agent.lab import recipe  # noqa: E402

LABELS = ("normal", "unbalanced_perpendicular", "unbalanced_opposite")
AXES = ("x", "y", "z")
ROWS, EVERY_S, SEED, NOVELTY = 100, 0.02, 0, 0.99
WIDTH, RIDGE = 2.0, 1.0  # kernel: exp(-WIDTH * mean square distance); RIDGE on its diagonal, large enough for 8-bit landmarks
REACH, MODES = 1.5, 4
PLAY = 0.9  # a fan at twice the duty turns 2**PLAY times as fast
Records = dict[tuple[int, int], np.ndarray]  # (class, speed in %) -> [samples, axes] in g


# ---------------------------------------------------------------- data


def load(folder: Path, without: set[str]) -> Records:
    """Every record but those withheld by name (`normal@35`) or by speed (`35`)."""
    rows = np.genfromtxt(folder / "accelerometer.csv", delimiter=",", skip_header=1)
    pairs = [(int(c) - 1, int(s)) for c, s in np.unique(rows[:, :2], axis=0)]
    left = [(c, s) for c, s in pairs if not {str(s), f"{LABELS[c]}@{s}"} & without]
    return {(c, s): rows[(rows[:, 0] == c + 1) & (rows[:, 1] == s), 2:] for c, s in left}


def cut(record: np.ndarray, stride: int) -> np.ndarray:
    """Windows [N, 3, 100]."""
    return np.stack([record[e : e + ROWS].T for e in range(0, len(record) - ROWS + 1, stride)]).astype(np.float32)


def played(record: np.ndarray, rate: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` windows as if the record ran `rate` times as fast."""
    length = int(np.ceil((ROWS - 1) * rate)) + 2
    start = rng.integers(0, len(record) - length, count)
    at = np.arange(ROWS) * rate
    low, part = at.astype(int), (at % 1)[None, :, None]
    pieces = record[start[:, None] + low] * (1 - part) + record[start[:, None] + low + 1] * part
    return pieces.transpose(0, 2, 1).astype(np.float32)


# ---------------------------------------------------------------- features, in the graph


def fourier(frequencies: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine columns [100, F] behind a Hann window; the amplitude of a sine of 1 g is 1."""
    t, hann = np.arange(ROWS) * EVERY_S, np.hanning(ROWS)
    turn = 2 * np.pi * t[:, None] * frequencies[None]
    weight = (hann / hann.sum() * 2)[:, None]
    return torch.tensor(np.cos(turn) * weight, dtype=torch.float32), torch.tensor(-np.sin(turn) * weight, dtype=torch.float32)


class Front(torch.nn.Module):
    """Window in g to features [N, F]."""

    LINE = np.arange(5.0, 20.55, 0.1)  # Hz: where the rotation's line may lie
    BANDS = np.arange(1, 49) * 0.5  # Hz, four to a band

    def __init__(self) -> None:
        super().__init__()
        folded = [25.0 - np.abs(25.0 - np.mod(m * self.LINE, 50.0)) for m in (1, 2, 3, 0.5)]  # what lies above 25 Hz folds back
        for i, frequencies in enumerate((*folded, self.BANDS)):
            cosine, sine = fourier(frequencies)
            self.register_buffer(f"cos{i}", cosine)
            self.register_buffer(f"sin{i}", sine)
        self.register_buffer("hz", torch.tensor(self.LINE, dtype=torch.float32))

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        x = window - window.mean(2, keepdim=True)
        re, im = x @ self.cos0, x @ self.sin0
        power = re * re + im * im
        line = 0.5 * torch.log(power + 1e-6)
        weights = torch.softmax(8.0 * torch.stack([line[:, 2], line[:, 1], line[:, 1] + line[:, 2]], 1), 2)  # [N, 3, F]: near the peak
        place = (weights * self.hz).sum(2)
        spread = torch.sqrt(torch.relu((weights * self.hz * self.hz).sum(2) - place * place) + 1e-6)
        strength = (weights.unsqueeze(2) * line.unsqueeze(1)).sum(3).flatten(1)
        return torch.cat([place, spread, strength, self._harmonics(x, weights[:, 2:3]), self._phases(re, im, weights[:, 2]), self._bands(x), self._shape(x)], 1)

    def _harmonics(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        found = []
        for i in (1, 2, 3):
            re, im = x @ getattr(self, f"cos{i}"), x @ getattr(self, f"sin{i}")
            found.append((weights * 0.5 * torch.log(re * re + im * im + 1e-6)).sum(2))
        return torch.cat(found, 1)

    def _phases(self, re: torch.Tensor, im: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        found = []
        for i, j in ((0, 1), (0, 2), (1, 2)):
            real, imaginary = re[:, i] * re[:, j] + im[:, i] * im[:, j], im[:, i] * re[:, j] - re[:, i] * im[:, j]
            size = torch.sqrt(real * real + imaginary * imaginary + 1e-9)
            found += [(weights * real / size).sum(1, keepdim=True), (weights * imaginary / size).sum(1, keepdim=True)]
        return torch.cat(found, 1)

    def _bands(self, x: torch.Tensor) -> torch.Tensor:
        re, im = x @ self.cos4, x @ self.sin4
        power = (re * re + im * im).reshape(-1, 3, len(self.BANDS) // 4, 4).mean(3)
        return torch.log(power + 1e-7).flatten(1)

    def _shape(self, x: torch.Tensor) -> torch.Tensor:
        square = (x * x).mean(2) + 1e-6
        rms = torch.sqrt(square)
        level = torch.log(rms)
        kurtosis = torch.log((x * x * x * x).mean(2) / (square * square) + 0.1)
        crest = torch.log(x.abs().amax(2) / rms + 0.1)
        skewness = (x * x * x).mean(2) / (square * rms)
        step = x[:, :, 1:] - x[:, :, :-1]
        rough = torch.log((step * step).mean(2) / square + 1e-3)
        return torch.cat([level, level[:, 1:] - level[:, 2:], level[:, :1] - level[:, 2:], kurtosis, crest, skewness, rough], 1)


def features(front: Front, windows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return front(torch.from_numpy(windows)).numpy().astype(np.float64)


# ---------------------------------------------------------------- the judge


def material(records: Records, front: Front, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, classes and weights: real windows, and for the speeds between (and one step beyond) mixtures of faster and slower ones."""
    found = [(features(front, cut(record, 80)), c, 1.0) for (c, _), record in records.items()]
    for c in range(len(LABELS)):
        speeds = sorted(s for k, s in records if k == c)
        for slow, fast in zip(speeds[:-1], speeds[1:]):
            for part in (1 / 3, 2 / 3):
                speed = (1 - part) * slow + part * fast
                one = features(front, played(records[c, slow], (speed / slow) ** PLAY, 20, rng))
                two = features(front, played(records[c, fast], (speed / fast) ** PLAY, 20, rng))
                found.append(((1 - part) * one + part * two, c, 0.5))
        slow, fast = speeds[-2:]
        for part in (0.5, 1.0):
            speed = fast + 5 * part
            one = features(front, played(records[c, slow], (speed / slow) ** PLAY, 20, rng))
            two = features(front, played(records[c, fast], (speed / fast) ** PLAY, 20, rng))
            found.append((two + 0.8 * 5 * part / (fast - slow) * (two.mean(0) - one.mean(0)), c, 0.5))
    x, y, w = zip(*[(f, np.full(len(f), c), np.full(len(f), weight)) for f, c, weight in found])
    return np.concatenate(x), np.concatenate(y), np.concatenate(w)


class Judge(torch.nn.Module):
    """Features to scores around 0 .. 1 by similarity to landmarks."""

    def __init__(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> None:
        super().__init__()
        mean, scale = x.mean(0), x.std(0) + 1e-6
        z = (x - mean) / scale / np.sqrt(x.shape[1] / WIDTH)
        kernel = np.exp(-np.maximum((z * z).sum(1)[:, None] + (z * z).sum(1)[None] - 2 * z @ z.T, 0.0))
        kernel[np.diag_indices(len(z))] += RIDGE / weight
        answer = cho_solve(cho_factor(kernel), np.eye(len(LABELS))[y] - 1 / len(LABELS))
        self.temperature = 1.0
        constants = {"mean": mean, "factor": 1 / (scale * np.sqrt(x.shape[1] / WIDTH)), "landmarks": z.T, "sizes": (z * z).sum(1), "answer": answer}
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = (x - self.mean) * self.factor
        near = torch.exp(2.0 * (z @ self.landmarks) - (z * z).sum(1, keepdim=True) - self.sizes)
        return near @ self.answer


class Net(torch.nn.Module):
    def __init__(self, front: Front, judge: Judge, temperature: float) -> None:
        super().__init__()
        self.front, self.judge, self.temperature = front, judge, temperature

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.temperature * self.judge(self.front(window)), 1)


def train(records: Records) -> tuple[Front, Judge]:
    front = Front()
    return front, Judge(*material(records, front, np.random.default_rng(SEED)))


# ---------------------------------------------------------------- graph and figures


def quantized(net: Net, records: Records, folder: Path, name: str) -> tuple[Path, Path]:
    """FP32 and INT8. The Fourier matrices stay FP32: 20 mg and 2 g pass through the same window, and 8 bits would lose the 20 mg."""
    import onnx

    fp32, int8 = folder / f"{name}.fp32.onnx", folder / f"{name}.int8.onnx"
    axes = {"window": {0: "n"}, "probabilities": {0: "n"}}
    torch.onnx.export(net, (torch.zeros(1, 3, ROWS),), str(fp32), input_names=["window"], output_names=["probabilities"],
                      dynamic_axes=axes, opset_version=17, dynamo=False)
    products = [node.name for node in onnx.load(fp32).graph.node if node.op_type == "MatMul"]
    keep = [n for n in products if n.startswith("/front")] + products[-1:]
    windows = np.concatenate([cut(record, 500) for record in records.values()])
    build.quantize(fp32, int8, [{"window": w[None]} for w in windows], exclude=keep)
    return fp32, int8


def asked(model: Path, windows: np.ndarray) -> np.ndarray:
    session = open_session(model.read_bytes(), model.name)
    return np.concatenate([session.run(["probabilities"], {"window": part})[0] for part in np.array_split(windows, max(1, len(windows) // 64))])


def judged(found: np.ndarray, truth: np.ndarray, speeds: np.ndarray, surrounded: set[int]) -> dict[str, float]:
    near = np.isin(speeds, list(surrounded))
    sure, right = found.max(1), found.argmax(1) == truth
    bins = np.minimum((sure * 10).astype(int), 9)
    ece = sum(abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in range(10) if (bins == b).any())
    figures = {
        "macro_f1": f1_score(truth, found.argmax(1), average="macro"),
        "accuracy": right.mean(),
        "auroc_normal_vs_unbalanced": roc_auc_score(truth != 0, 1 - found[:, 0]),
        "macro_f1_neighbours_known": f1_score(truth[near], found[near].argmax(1), average="macro"),
        "auroc_neighbours_known": roc_auc_score(truth[near] != 0, 1 - found[near, 0]),
        "ece": ece,
        "worst_speed_accuracy": min(right[speeds == s].mean() for s in np.unique(speeds)),
        "windows": len(truth),
    }
    return {key: round(float(value), 4) for key, value in figures.items()}


def fitted_temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The one number that makes held-out confidences honest."""

    def loss(log_t: float) -> float:
        z = scores * np.exp(log_t)
        z -= z.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), truth]))

    return round(float(np.exp(minimize_scalar(loss, bounds=(-1, 4), method="bounded").x)), 2)


def known(records: Records) -> dict[str, object]:
    """The envelope: the windows, and windows played a little faster and slower, as between the speeds."""
    rng = np.random.default_rng(SEED)
    windows = [cut(record, 40) for record in records.values()]
    windows += [played(record, rate, 15, rng) for record in records.values() for rate in (0.93, 1.07)]
    return build.envelope(np.concatenate(windows), reach=REACH, margin=0.25, log=True, modes=MODES)


def evaluate(records: Records, scratch: Path) -> tuple[dict[str, float], dict[str, float], float]:
    """Leave each speed out in turn: figures of FP32 and INT8 and the temperature. The temperature of a speed comes from the other speeds."""
    speeds = sorted({s for _, s in records})
    surrounded = {s for s in speeds if {s - 5, s + 5} <= set(speeds)} | {max(speeds)}
    kept, found, refusals = {}, {"fp32": [], "int8": []}, []
    for speed in speeds:
        rest = {k: r for k, r in records.items() if k[1] != speed}
        front, judge = train(rest)
        held = np.concatenate([cut(records[c, speed], ROWS) for c in range(len(LABELS)) if (c, speed) in records])
        truth = np.concatenate([np.full(len(cut(records[c, speed], ROWS)), c) for c in range(len(LABELS)) if (c, speed) in records])
        with torch.no_grad():
            kept[speed] = (front, judge, rest, held, truth, judge(torch.tensor(features(front, held), dtype=torch.float32)).numpy())
    for speed, (front, judge, rest, held, truth, _) in kept.items():
        others = [kept[s] for s in speeds if s != speed]
        t = fitted_temperature(np.concatenate([o[5] for o in others]), np.concatenate([o[4] for o in others]))
        files = dict(zip(found, quantized(Net(front, judge, t).eval(), rest, scratch, f"without{speed}")))
        for kind, file in files.items():
            found[kind].append((asked(file, held), truth, np.full(len(truth), speed)))
        refusals.append(foreign.figures(Envelope.model_validate_json(json.dumps(known(rest))), NOVELTY, held[::3]))
        print(f"without {speed} %: right {(found['int8'][-1][0].argmax(1) == truth).mean():.2f}, refused {refusals[-1]['refused_clean']:.2f}", flush=True)
    novelty = {k: round(float(np.mean([r[k] for r in refusals])), 4) for k in refusals[0]}
    figures = [judged(*(np.concatenate(part) for part in zip(*found[kind])), surrounded) | novelty for kind in found]
    temperature = fitted_temperature(np.concatenate([k[5] for k in kept.values()]), np.concatenate([k[4] for k in kept.values()]))
    return *figures, temperature


def card(records: Records, listed: dict[str, str], envelope: dict[str, object], fp32: dict[str, float], int8: dict[str, float]) -> dict[str, object]:
    speeds = sorted({s for _, s in records})
    return {
        "format": 1,
        "name": "rotor-imbalance",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": list(LABELS), "normal": LABELS[0]},
        "window": {"rows": ROWS, "every": "20 ms"},
        "roles": [{"role": f"vibration_{a}", "unit": "g", "range": [-16.0, 16.0]} for a in AXES],
        "graph": {"window": "window", "outputs": {"probabilities": "probabilities"}},
        "smoothing": {"median": 3},
        "thresholds": {"alarm": 0.6, "confidence": 0.5, "novelty": NOVELTY},
        "envelope": envelope,
        "intended": {
            "use": "imbalance of one small fan, told by weights on its blades, from a 3-axis accelerometer at 50 Hz, whatever its speed",
            "not_for": "other fans or mounts without new training; anything safety-related; other sampling rates",
            "tier": 1,
        },
        "provenance": {
            "data": "UCI Accelerometer (id 846): Scalabrini Sampaio et al., Sensors 19(19) 4342, 2019",
            "data_licence": "CC BY 4.0 as stated by UCI; not confirmed",
            "split": f"whole speeds, each left out in turn; the shipped model is trained on speeds {', '.join(map(str, speeds))} %",
            "code": "models/rotor-imbalance/train.py",
            "licence": "Apache-2.0 (code); the data's licence is named above",
            "runs": listed,
        },
        "metrics": {
            "protocol": "each speed left out in turn, its 2 s windows judged one by one, pooled over all speeds. *_neighbours_known: only speeds whose "
            "neighbours 5 % away are in training (or the highest): without gaps of 15 %. refused_*: share refused by the novelty gate, held-out speeds.",
            "fp32": fp32,
            "int8": int8,
        },
        "golden": {"rtol": 0.02, "atol": 0.02},
    }


def main() -> None:
    args = recipe.arguments(__doc__, HERE).parse_args()
    torch.set_num_threads(1)
    without = recipe.withheld(args.without)
    records, listed = load(args.data, set(without)), recipe.listed(recipe.runs("uci_accelerometer", args.data, without))
    scratch = Path(tempfile.mkdtemp())
    try:
        fp32, int8, temperature = ({}, {}, 6.0) if args.without else evaluate(records, scratch)
        front, judge = train(records)
        files = quantized(Net(front, judge, temperature).eval(), records, scratch, "final")
        golden = np.concatenate([cut(records[c, s], 1000)[:1] for c, s in sorted(records)[::2]])
        build.write(args.out, card=card(records, listed, known(records), fp32, int8), model=files[1], fp32=files[0], golden_inputs={"window": golden})
        for name, figures in (("fp32", fp32), ("int8", int8)):
            print(name, figures)
        print(f"temperature {temperature}; written to {args.out}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
