"""Which INT8 version of a graph is good enough and faster here? By measurement: calibration method, then nodes left in float."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import admission
from edge_agent.diagnose.bundle import Bundle
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.lab import timing
from edge_agent.lab.answers import Asker, figures, normal_words
from edge_agent.lab.windows import Windows

Feeds = Mapping[str, NDArray[Any]]
Say = Callable[[str], None]
HEAVY = ("Conv", "Gemm", "MatMul")
_CALIBRATED_ON, _ROUNDS, _CANDIDATES = 256, 6, 24
_RACE = 300
_CLEARLY = 0.9  # of the time: dynamic INT8 must win this much, for its ranges hang on what else is in the batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One INT8 graph, and what it costs and loses against FP32 on the evaluation windows."""

    name: str
    graph: bytes = field(repr=False)
    left_in_float: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    loss: float = 0.0  # largest fall of a figure, or share of changed answers where nobody labelled the windows
    worst: Mapping[str, Any] = field(default_factory=dict)  # the window whose raw score moved most
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """FP32 and its best INT8 rival, every candidate tried, and why FP32 stays, if it does."""

    fp32: Candidate
    best: Candidate
    tried: tuple[Candidate, ...]
    budget: float
    refusals: tuple[str, ...]

    @property
    def taken(self) -> bool:
        """Whether INT8 may replace FP32 here."""
        return not self.refusals


def quantize(bundle: Bundle, fp32: bytes, *, calibration: Windows, evaluation: Windows, budget: float, say: Say) -> Result:
    """Try static INT8 with three calibrations and dynamic INT8; leave sensitive nodes in float until the loss fits the budget."""
    judge = _Judge(bundle, fp32, evaluation)
    prepared = prepare(fp32)
    feeds = _feeds(bundle, calibration)
    tried: list[Candidate] = []
    for name, make in _methods(prepared, feeds).items():
        say(f"{bundle.id}: {name}")
        tried += _attempt(judge, name, make)
    if not tried:
        raise EdgeAgentError(f"{bundle.id}: has no {', '.join(HEAVY)} that could be quantized; FP32 stays")
    rivals = [_best_static(judge, tried, prepared, feeds, budget, say), *(c for c in tried if c.name == "dynamic")]
    graphs = {"fp32": fp32, **{c.name: c.graph for c in rivals}}
    times = timing.race({name: judge.caller(graph) for name, graph in graphs.items()}, _RACE)
    float_ = replace(judge.candidate("fp32", fp32), times=times["fp32"])
    best = _choose([replace(c, times=times[c.name]) for c in rivals], budget)
    return Result(fp32=float_, best=best, tried=tuple(tried), budget=budget, refusals=_refusals(float_, best, budget))


def _best_static(judge: _Judge, tried: list[Candidate], prepared: bytes, feeds: Sequence[Feeds], budget: float, say: Say) -> Candidate:
    """The calibration that loses least, with sensitive nodes in float where it still loses too much; adds what it tried."""
    static = [c for c in tried if c.name != "dynamic"] or tried
    best = min(static, key=lambda c: (max(c.loss - budget, 0.0), c.worst["difference"]))
    if best.loss <= budget or best.name == "dynamic":
        return best
    found = _soften(judge, best, prepared, feeds, budget, say)
    tried += found
    return min([best, *found], key=lambda c: (max(c.loss - budget, 0.0), len(c.left_in_float)))


def _choose(rivals: Sequence[Candidate], budget: float) -> Candidate:
    """Static (the first) if it is good enough, unless another one is, too, and clearly faster; else what loses least."""
    good = [c for c in rivals if c.loss <= budget]
    if not good:
        return min(rivals, key=lambda c: c.loss)
    quickest = min(good, key=lambda c: c.times["p50_us"])
    return quickest if quickest.times["p50_us"] < _CLEARLY * good[0].times["p50_us"] else good[0]


def prepare(fp32: bytes) -> bytes:
    """Shapes inferred, constants folded: what the quantizer wants. EdgeAgentError."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "prepared.onnx"
        source.write_bytes(fp32)
        try:
            quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
        except Exception as e:  # onnx raises its own kinds and plain ones
            raise EdgeAgentError(f"the FP32 graph cannot be prepared for quantizing: {str(e)[:300]}; check it with onnx.checker") from e
        return target.read_bytes()


def static(prepared: bytes, feeds: Sequence[Feeds], method: str, *, percentile: float | None = None, exclude: Sequence[str] = ()) -> bytes:
    """QDQ, activations u8, weights s8 per channel (s8 activations are slow and saturate on x86). Heavy operators only."""
    from onnxruntime import quantization as q

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        source.write_bytes(prepared)
        q.quantize_static(
            str(source),
            str(target),
            _reader(feeds),
            quant_format=q.QuantFormat.QDQ,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=list(exclude),
            op_types_to_quantize=list(HEAVY),
            calibrate_method=q.CalibrationMethod[method],
            extra_options={} if percentile is None else {"CalibPercentile": percentile},
        )
        return target.read_bytes()


def dynamic(prepared: bytes) -> bytes:
    """Weights s8, activations quantized at run time: for dense layers, where ranges differ much from window to window."""
    from onnxruntime import quantization as q

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        source.write_bytes(prepared)
        q.quantize_dynamic(
            str(source), str(target), weight_type=q.QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"]
        )
        return target.read_bytes()


def heavy_nodes(graph: bytes) -> list[str]:
    """Names of the nodes that can be quantized, the largest weights first."""
    import onnx

    model = onnx.load_from_string(graph)
    sizes = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type in HEAVY and n.name]
    return [n.name for n in sorted(nodes, key=lambda n: -max((sizes.get(i, 0) for i in n.input), default=0))]


class _Judge:
    """Compares graphs with FP32 on the same windows."""

    def __init__(self, bundle: Bundle, fp32: bytes, evaluation: Windows) -> None:
        self._bundle, self._windows = bundle, evaluation
        self._one = evaluation.feeds(bundle.card, slice(0, 1))
        self._float = Asker(bundle, fp32).ask(evaluation)
        self._raw = Asker(bundle, fp32).raw(evaluation)
        self._labels = self._float.label if evaluation.labels is None else evaluation.labels
        self._normal = normal_words(bundle)
        self._figures = figures(self._float, self._labels, self._normal)

    def caller(self, graph: bytes) -> Callable[[], object]:
        """One run of one window."""
        return timing.caller(graph, self._one)

    def candidate(self, name: str, graph: bytes) -> Candidate:
        """Figures, loss and the worst window of a graph. ModelRefused if the agent would not admit it."""
        admission.admit(graph, self._bundle.card, f"{self._bundle.id} ({name})")
        asker = Asker(self._bundle, graph)
        found = figures(asker.ask(self._windows), self._labels, self._normal)
        loss = max((self._figures[k] - found.get(k, 0.0) for k in ("accuracy", "macro_f1", "auroc") if k in self._figures), default=0.0)
        return Candidate(name=name, graph=graph, figures=found, loss=max(loss, 0.0), worst=self._worst(asker))

    def _worst(self, asker: Asker) -> dict[str, Any]:
        moved = np.abs(np.nan_to_num(asker.raw(self._windows), nan=np.inf) - self._raw)
        index = int(moved.argmax())
        said = None if self._windows.labels is None else str(self._windows.labels[index])
        return {"window": index, "difference": float(moved[index]), "fp32": float(self._raw[index]), "label": said}


def _methods(prepared: bytes, feeds: Sequence[Feeds]) -> dict[str, Callable[[], bytes]]:
    return {
        "static minmax": lambda: static(prepared, feeds, "MinMax"),
        "static percentile 99.99": lambda: static(prepared, feeds, "Percentile", percentile=99.99),
        "static entropy": lambda: static(prepared, feeds, "Entropy"),
        "dynamic": lambda: dynamic(prepared),
    }


def _attempt(judge: _Judge, name: str, make: Callable[[], bytes]) -> list[Candidate]:
    """A candidate, or none: not every method takes every graph, and dynamic INT8 of a convolution is left to none."""
    try:
        with redirect_stdout(StringIO()):  # the quantizer chats where programs read our JSON
            graph = make()
        return [judge.candidate(name, graph)] if b"Quantize" in graph or b"Integer" in graph else []
    except (ModelRefused, ValueError, RuntimeError, KeyError, NotImplementedError):
        return []


def _soften(judge: _Judge, best: Candidate, prepared: bytes, feeds: Sequence[Feeds], budget: float, say: Say) -> list[Candidate]:
    """Greedy: each round leaves that one more node in float whose loss falls most, until it fits or nothing helps."""
    names, found, now = heavy_nodes(prepared)[:_CANDIDATES], list[Candidate](), best
    method, percentile = _setting(best.name)

    def without(left: tuple[str, ...]) -> list[Candidate]:
        make = lambda: static(prepared, feeds, method, percentile=percentile, exclude=left)  # noqa: E731
        return [replace(c, left_in_float=left) for c in _attempt(judge, best.name, make)]

    for _ in range(min(_ROUNDS, len(names) - 1)):
        say(f"{best.name}: loses {now.loss:.4f}, allowed {budget:.4f}; looking for a sensitive node ({len(now.left_in_float)} in float)")
        options = [c for name in names if name not in now.left_in_float for c in without((*now.left_in_float, name))]
        chosen = min(options, key=lambda c: (c.loss, c.worst["difference"]), default=now)
        if (chosen.loss, chosen.worst["difference"]) >= (now.loss, now.worst["difference"]):
            break
        now = chosen
        found.append(now)
        if now.loss <= budget:
            break
    return found


def _setting(name: str) -> tuple[str, float | None]:
    return {"static minmax": ("MinMax", None), "static entropy": ("Entropy", None)}.get(name, ("Percentile", 99.99))


def _refusals(fp32: Candidate, int8: Candidate, budget: float) -> tuple[str, ...]:
    found = []
    if int8.times["p50_us"] >= fp32.times["p50_us"]:
        found.append(f"INT8 is slower here: {int8.times['p50_us']:.1f} us a window, FP32 {fp32.times['p50_us']:.1f} us; FP32 stays")
    if int8.loss > budget:
        found.append(f"INT8 loses {int8.loss:.4f} on the evaluation windows, {budget:.4f} are allowed; FP32 stays")
    return tuple(found)


def _feeds(bundle: Bundle, windows: Windows) -> list[Feeds]:
    some = windows.some(_CALIBRATED_ON)
    return [some.feeds(bundle.card, slice(i, i + 1)) for i in range(len(some))]


def _reader(feeds: Sequence[Feeds]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next((dict(one) for one in self._left), None)

    return Reader()
