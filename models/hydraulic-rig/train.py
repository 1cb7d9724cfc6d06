"""Train, evaluate, quantize and write the hydraulic-rig bundle: python train.py --data FOLDER

FOLDER holds CE.txt, SE.txt, ..., profile.txt, block.txt (UCI "Condition monitoring of hydraulic systems", the eight 1 Hz channels; not
part of this project). Needs the extra `train`; about two minutes. Split by whole blocks of equal joint condition: neighbouring cycles are
nearly equal, and cycles at random would score what they have seen.

In the graph: one cycle of 60 s to its efficiency at each step of the load (SE comes in pairs of seconds), the steps between them, levels
and slopes of the temperatures, cooling and vibration. Cooler, valve and pump leakage: linear discriminants. Accumulator: a forest of
thresholds, since its pressure moves whole steps of the load from one second to the next.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize_scalar
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import f1_score

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from edge_agent.diagnose import build, foreign  # noqa: E402
from edge_agent.diagnose.card import Envelope  # noqa: E402
from edge_agent.diagnose.session import open_session  # noqa: E402
from edge_agent.lab import recipe, split  # noqa: E402
from edge_agent.lab.data import Run  # noqa: E402
from edge_agent.lab.scenarios import uci_hydraulic_1hz as scenario  # noqa: E402

STATES = {"cooler": ("3", "20", "100"), "valve": ("73", "80", "90", "100"), "pump": ("0", "1", "2"), "accumulator": ("90", "100", "115", "130")}
NORMAL = {"cooler": "100", "valve": "100", "pump": "0", "accumulator": "130"}
SHRINKAGE = {"cooler": 0.0, "valve": 0.005, "pump": 0.02}
TREES, LEAF, TRIED, SEED = 80, 3, 0.6, 0  # leaf: fewest cycles in one; tried: share of the features at each branch
NOVELTY, REACH = 0.99, 1.5
CHANNELS = ("CE", "CP", "SE", "TS1", "TS2", "TS3", "TS4", "VS1")
NAMES = ("cooling_efficiency", "cooling_power", "efficiency", "temperature1", "temperature2", "temperature3", "temperature4", "vibration")
UNITS, SPANS = ("%", "kW", "%", "degC", "degC", "degC", "degC", "mm/s"), ((0, 100), (0, 10), (0, 100), *[(-20, 150)] * 4, (0, 20))
ROWS, WIDTH = 60, 480
Floats = np.ndarray


# ---------------------------------------------------------------- data


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Flat windows [N, 8 * 60], the state of each part, the block."""

    x: Floats
    y: dict[str, np.ndarray]
    block: np.ndarray

    def where(self, pick: np.ndarray) -> Cycles:
        return Cycles(x=self.x[pick], y={t: v[pick] for t, v in self.y.items()}, block=self.block[pick])

    @property
    def windows(self) -> Floats:
        return self.x.reshape(-1, len(CHANNELS), ROWS)


def cycles(runs: Sequence[Run]) -> Cycles:
    x = np.concatenate([r.values.reshape(-1, ROWS, len(CHANNELS)).transpose(0, 2, 1).reshape(-1, WIDTH) for r in runs])
    y = {t: np.concatenate([r.truth[t][::ROWS] for r in runs]) for t in STATES}
    return Cycles(x=x.astype(np.float64), y=y, block=np.concatenate([[r.name] * (len(r.values) // ROWS) for r in runs]))


# ---------------------------------------------------------------- features: all linear in the window


def at(channel: str, weights: dict[int, float]) -> Floats:
    column = np.zeros(WIDTH)
    for row, weight in weights.items():
        column[CHANNELS.index(channel) * ROWS + row] += weight
    return column


STEPS = (0, *range(9, ROWS, 2))  # rows at which SE may have changed
MEANS = [at(c, dict.fromkeys(range(ROWS), 1 / ROWS)) for c in CHANNELS]
SLOPES = [at(c, {ROWS - 1: 1.0, 0: -1.0}) for c in ("CE", "TS1", "TS2", "TS3", "TS4")]
LEVELS = [at("SE", {row: 1.0}) for row in STEPS]
EDGES = [at("SE", {b: 1.0, a: -1.0}) for a, b in zip(STEPS[:-1], STEPS[1:])]
REST = at("SE", dict.fromkeys(STEPS[-8:], 1 / 8))
OTHERS = [m for c, m in zip(CHANNELS, MEANS) if c != "SE"]

FEATURES = {
    "cooler": np.stack([*[m for c, m in zip(CHANNELS, MEANS) if c not in ("SE", "VS1")], *SLOPES], 1),
    "valve": np.stack(LEVELS, 1),
    "pump": np.stack([*LEVELS, *[m for c, m in zip(CHANNELS, MEANS) if c.startswith("TS") or c == "VS1"]], 1),
    "accumulator": np.stack([*LEVELS, *EDGES, *[level - REST for level in LEVELS], *OTHERS], 1),
}


# ---------------------------------------------------------------- the judges


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Log-odds = x @ weight + offset."""

    weight: Floats
    offset: Floats

    def scores(self, x: Floats) -> Floats:
        return x @ self.weight + self.offset


def discriminant(part: str, known: Cycles) -> Linear:
    feature = FEATURES[part]
    seen = known.x @ feature
    mean, scale = seen.mean(0), seen.std(0) + 1e-6
    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE[part]).fit((seen - mean) / scale, known.y[part])
    order = [list(fitted.classes_).index(s) for s in STATES[part]]
    weight = fitted.coef_[order] / scale
    return Linear(weight=feature @ weight.T, offset=fitted.intercept_[order] - weight @ mean)


class Forest:
    """Log of the trees' mean share of each state."""

    FLOOR = 0.01

    def __init__(self, known: Cycles) -> None:
        self.trees = ExtraTreesClassifier(TREES, min_samples_leaf=LEAF, max_features=TRIED, random_state=SEED)
        self.trees.fit(known.x @ FEATURES["accumulator"], known.y["accumulator"])
        self.order = [list(self.trees.classes_).index(s) for s in STATES["accumulator"]]

    def scores(self, x: Floats) -> Floats:
        return np.log(self.trees.predict_proba(x @ FEATURES["accumulator"])[:, self.order] + self.FLOOR)


Judges = dict[str, Linear | Forest]


def judges(known: Cycles) -> Judges:
    return {**{part: discriminant(part, known) for part in SHRINKAGE}, "accumulator": Forest(known)}


def softmax(scores: Floats) -> Floats:
    high = np.exp(scores - scores.max(1, keepdims=True))
    return high / high.sum(1, keepdims=True)


def sharpness(scores: Floats, truth: Floats) -> float:
    """The one factor that makes held-out confidences honest."""

    def loss(log_t: float) -> float:
        return float(-np.log(softmax(scores * np.exp(log_t))[np.arange(len(truth)), truth] + 1e-9).mean())

    return round(float(np.exp(minimize_scalar(loss, bounds=(-4, 2), method="bounded").x)), 3)


def held_out(known: Cycles, runs: Sequence[Run], seed: int) -> dict[str, Floats]:
    """Scores of each cycle by judges that did not see its block."""
    found = {part: np.zeros((len(known.x), len(states))) for part, states in STATES.items()}
    for fold in split.by_group(runs, 5, seed):
        test = np.isin(known.block, fold.test)
        for part, judge in judges(known.where(~test)).items():
            found[part][test] = judge.scores(known.x[test])
    return found


def sharpnesses(known: Cycles, runs: Sequence[Run]) -> dict[str, float]:
    scores = held_out(known, runs, seed=7)
    return {part: sharpness(scores[part], indices(known, part)) for part in STATES}


def indices(known: Cycles, part: str) -> np.ndarray:
    return np.array([STATES[part].index(s) for s in known.y[part]])


# ---------------------------------------------------------------- the graph


def tree_attributes(forest: Forest) -> dict[str, object]:
    """The forest as a TreeEnsembleRegressor with one target a state."""
    kept: dict[str, list[object]] = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    target: dict[str, list[object]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, estimator in enumerate(forest.trees.estimators_):
        tree = estimator.tree_
        for node in range(tree.node_count):
            leaf = tree.children_left[node] < 0
            low = (float(np.float32(tree.threshold[node])), int(tree.children_left[node]), int(tree.children_right[node]))
            value, yes, no = (0.0, 0, 0) if leaf else low
            for name, entry in zip(kept, (number, node, max(0, int(tree.feature[node])), value, "LEAF" if leaf else "BRANCH_LEQ", yes, no)):
                kept[name].append(entry)
            shares = tree.value[node][0] / tree.value[node][0].sum()
            for i, state in enumerate(forest.order):
                if leaf and shares[state] > 0:
                    for name, entry in zip(target, (number, node, i, float(shares[state]) / TREES)):
                        target[name].append(entry)
    return {f"nodes_{k}": v for k, v in kept.items()} | {f"target_{k}": v for k, v in target.items()} | {"n_targets": len(forest.order)}


def graph(made: Judges, sharp: dict[str, float], known: Cycles) -> onnx.ModelProto:
    mean, scale = known.x.mean(0), np.maximum(known.x.std(0), 1e-3)
    constants: dict[str, Floats] = {"mean": mean, "inverse": 1 / scale, "features": FEATURES["accumulator"], "floor": np.array(Forest.FLOOR)}
    constants["sharp_accumulator"] = np.array(sharp["accumulator"])
    nodes = [
        helper.make_node("Flatten", ["window"], ["flat"], axis=1),
        helper.make_node("Sub", ["flat", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "inverse"], ["scaled"]),
        helper.make_node("MatMul", ["flat", "features"], ["steps"], name="steps"),
        helper.make_node("TreeEnsembleRegressor", ["steps"], ["votes"], domain="ai.onnx.ml", **tree_attributes(made["accumulator"])),
        helper.make_node("Add", ["votes", "floor"], ["some"]),
        helper.make_node("Log", ["some"], ["log"]),
        helper.make_node("Mul", ["log", "sharp_accumulator"], ["scores_accumulator"]),
    ]
    for part in SHRINKAGE:
        judge = made[part]
        source = "centred" if part == "cooler" else "scaled"  # not the tensor that INT8 rounds
        constants[f"weight_{part}"] = judge.weight * (1.0 if part == "cooler" else scale[:, None]) * sharp[part]
        constants[f"offset_{part}"] = (judge.offset + mean @ judge.weight) * sharp[part]
        nodes += [
            helper.make_node("MatMul", [source, f"weight_{part}"], [f"product_{part}"], name=f"product_{part}"),
            helper.make_node("Add", [f"product_{part}", f"offset_{part}"], [f"scores_{part}"]),
        ]
    nodes += [helper.make_node("Softmax", [f"scores_{part}"], [f"shares_{part}"], axis=1) for part in STATES]
    nodes.append(helper.make_node("Concat", [f"shares_{part}" for part in STATES], ["probabilities"], axis=1))
    tensors = [numpy_helper.from_array(np.asarray(value, dtype=np.float32), name) for name, value in constants.items()]
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", len(CHANNELS), ROWS])
    said = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", sum(map(len, STATES.values()))])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph(nodes, "hydraulic-rig", [window], [said], tensors), opset_imports=opsets, ir_version=8)


def files(known: Cycles, runs: Sequence[Run], folder: Path, name: str) -> tuple[Path, Path]:
    """FP32 and INT8. FP32 in both: the cooler (its weights cancel large parts) and the features of the forest (compared with thresholds)."""
    fp32, int8 = folder / f"{name}.fp32.onnx", folder / f"{name}.int8.onnx"
    onnx.save(graph(judges(known), sharpnesses(known, runs), known), str(fp32))
    build.quantize(fp32, int8, [{"window": w[None].astype(np.float32)} for w in known.windows[::20]], exclude=KEPT_FLOAT)
    return fp32, int8


KEPT_FLOAT = ("steps", "product_cooler", "product_cooler/MatMulAddFusion")  # the second name after fusing


# ---------------------------------------------------------------- figures


def asked(model: Path, windows: Floats) -> Floats:
    session = open_session(model.read_bytes(), model.name)
    return np.concatenate([session.run(["probabilities"], {"window": part.astype(np.float32)})[0] for part in np.array_split(windows, max(1, len(windows) // 64))])


def judged(found: Floats, known: Cycles) -> dict[str, float]:
    figures: dict[str, float] = {}
    start = 0
    for part, states in STATES.items():
        shares = found[:, start : start + len(states)]
        start += len(states)
        truth, said, sure = indices(known, part), shares.argmax(1), shares.max(1)
        bins = np.minimum((sure * 10).astype(int), 9)
        figures[f"accuracy_{part}"] = float((said == truth).mean())
        figures[f"macro_f1_{part}"] = float(f1_score(truth, said, average="macro"))
        figures[f"ece_{part}"] = float(sum(abs(sure[bins == b].mean() - (said == truth)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)))
    return {key: round(value, 4) for key, value in figures.items()}


def envelope(known: Cycles) -> dict[str, object]:
    return build.envelope(known.windows, reach=REACH, margin=0.25, log=True)


def evaluate(known: Cycles, runs: Sequence[Run], scratch: Path) -> tuple[dict[str, float], dict[str, float]]:
    found = {kind: np.zeros((len(known.x), sum(map(len, STATES.values())))) for kind in ("fp32", "int8")}
    refusals = []
    for fold in split.by_group(runs, 5, scenario.SEED):
        test = np.isin(known.block, fold.test)
        rest = [r for r in runs if r.name in fold.train]
        for kind, file in zip(found, files(known.where(~test), rest, scratch, f"fold{fold.name[0]}")):
            found[kind][test] = asked(file, known.windows[test])
        refusals.append(foreign.figures(Envelope.model_validate_json(json.dumps(envelope(known.where(~test)))), NOVELTY, known.windows[test]))
        print(f"fold {fold.name}: {judged(found['int8'][test], known.where(test))}", flush=True)
    novelty = {k: round(float(np.mean([r[k] for r in refusals])), 4) for k in refusals[0]}
    warm = known.block != "block-0"
    extra = {kind: {"accuracy_cooler_without_cold_start": judged(f[warm], known.where(warm))["accuracy_cooler"]} for kind, f in found.items()}
    return judged(found["fp32"], known) | extra["fp32"] | novelty, judged(found["int8"], known) | extra["int8"] | novelty


def curve(known: Cycles, runs: Sequence[Run]) -> None:
    """Accuracy on the same held-out blocks, by the share of the other blocks that was known."""
    for share in (0.25, 0.5, 0.75, 1.0):
        right: dict[str, list[bool]] = {part: [] for part in STATES}
        for fold in split.by_group(runs, 5, scenario.SEED):
            kept = np.random.default_rng(SEED).permutation(sorted(fold.train))[: round(share * len(fold.train))]
            test = known.where(np.isin(known.block, fold.test))
            for part, judge in judges(known.where(np.isin(known.block, kept))).items():
                right[part] += list(judge.scores(test.x).argmax(1) == indices(test, part))
        print(f"{share:.0%} of the blocks:", {part: round(float(np.mean(r)), 3) for part, r in right.items()}, flush=True)


# ---------------------------------------------------------------- the bundle


def card(runs: Sequence[Run], known: Cycles, fp32: dict[str, float], int8: dict[str, float]) -> dict[str, object]:
    return {
        "format": 1,
        "name": "hydraulic-rig",
        "version": "1.0.0",
        "head": {
            "type": "classify",
            "labels": [f"{part}={state}" for part, states in STATES.items() for state in states],
            "normal": [f"{part}={state}" for part, state in NORMAL.items()],
        },
        "window": {"rows": ROWS, "every": "1 s"},
        "roles": [{"role": n, "unit": u, "range": [float(v) for v in span]} for n, u, span in zip(NAMES, UNITS, SPANS)],
        "graph": {"window": "window", "outputs": {"probabilities": "probabilities"}},
        "thresholds": {"alarm": 0.5, "confidence": 0.5, "novelty": NOVELTY},
        "envelope": envelope(known),
        "intended": {
            "use": "state of cooler, valve, pump and accumulator of one hydraulic rig, from one whole load cycle of 60 s: the window begins with the cycle",
            "not_for": "other rigs or load cycles without new training; windows that begin inside a cycle; anything safety-related; the first minutes after a cold start",
            "tier": 1,
        },
        "provenance": {
            "data": "UCI condition monitoring of hydraulic systems, the eight 1 Hz channels: Helwig et al., I2MTC 2015; Schneider et al., tm 84(3) 2017",
            "data_licence": "CC BY 4.0",
            "split": f"whole blocks of equal joint condition, 5 folds; the shipped model is trained on all {len(runs)} blocks at hand",
            "code": "models/hydraulic-rig/train.py",
            "licence": "Apache-2.0 (code); the data's licence is named above",
            "runs": recipe.listed(runs),
        },
        "metrics": {
            "protocol": "blocks left out in five folds, one window a cycle, each judged by itself; factor of the confidences from inner folds. "
            "accuracy_cooler_without_cold_start: without block 0, whose first cycles are the only ones from cold oil.",
            "fp32": fp32,
            "int8": int8,
        },
        "golden": {"rtol": 0.02, "atol": 0.02},
    }


def main() -> None:
    parser = recipe.arguments(__doc__, HERE)
    parser.add_argument("--curve", action="store_true", help="print the learning curve and write nothing")
    args = parser.parse_args()
    runs = recipe.runs("uci_hydraulic_1hz", args.data, recipe.withheld(args.without))
    known = cycles(runs)
    if args.curve:
        return curve(known, runs)
    scratch = Path(tempfile.mkdtemp())
    try:
        fp32, int8 = ({}, {}) if args.without else evaluate(known, runs, scratch)
        for name, figures in (("fp32", fp32), ("int8", int8)):
            print(name, figures)
        made = files(known, runs, scratch, "final")
        pick = np.linspace(0, len(known.x) - 1, 24).astype(int)
        build.write(args.out, card=card(runs, known, fp32, int8), model=made[1], fp32=made[0], golden_inputs={"window": known.windows[pick].astype(np.float32)})
        print(f"written to {args.out}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
