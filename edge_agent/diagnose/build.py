"""How does a training recipe write a bundle? Quantize, measure the envelope, compute golden vectors, write the manifest.

For recipes only (extra `train`): nothing here runs on the edge.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from edge_agent.diagnose import card as cards
from edge_agent.diagnose import golden, manifest, trust
from edge_agent.diagnose.session import open_session

Feeds = Mapping[str, NDArray[Any]]

HEAVY = ("Conv", "Gemm", "MatMul")


def quantize(
    fp32_path: Path,
    int8_path: Path,
    calibration: Sequence[Feeds],
    *,
    exclude: Sequence[str] = (),
    operators: Sequence[str] = HEAVY,
    percentile: float | None = None,
) -> None:
    """Write a static INT8 QDQ model: u8 activations, s8 weights per channel (s8 activations are slow and saturate on x86).

    `calibration` are typical feeds; `exclude` names nodes that stay FP32; `percentile` (99.99) cuts outliers instead of min/max.
    Only the heavy operators are quantized unless told otherwise: scaling and scoring keep their precision.
    """
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(fp32_path), str(prepared), skip_symbolic_shape=True)
        q.quantize_static(
            str(prepared),
            str(int8_path),
            _reader(calibration),
            quant_format=q.QuantFormat.QDQ,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=list(exclude),
            op_types_to_quantize=list(operators),
            calibrate_method=q.CalibrationMethod.MinMax if percentile is None else q.CalibrationMethod.Percentile,
            extra_options={} if percentile is None else {"CalibPercentile": percentile},
        )


def _reader(calibration: Sequence[Feeds]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(calibration)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next((dict(feeds) for feeds in self._left), None)

    return Reader()


def envelope(
    windows: NDArray[np.floating],
    *,
    baselines: NDArray[np.floating] | None = None,
    correlated: bool = True,
    reach: float = 1.0,
    margin: float | None = None,
    points: int = 101,
    log: bool = False,
    modes: int = 0,
) -> dict[str, Any]:
    """The card's `envelope` from all windows [N, C, W] (raw, in the roles' units) that the model knows: also the known faults.

    `baselines` is [2, C] or [N, 2, C]. `correlated` keeps the (shrunk) inverse covariance. `margin` adds `low` and `high`: the
    training range widened by this share of it on both sides. `reach` stretches the distances for faults that go farther.
    `log` takes the logarithm of the spreads; `modes` looks for that many places where the data lie close together (scikit-learn).
    """
    feature = trust.features(windows, baselines, log=log)
    centre = feature.mean(axis=0)
    scale = np.maximum(feature.std(axis=0), _floor(feature))
    z = (feature - centre) / scale
    precision = _precision(z) if correlated and not modes else None
    places = _modes(z, modes) if modes else []
    q = np.linspace(0, 1, points)
    found = np.quantile(trust.nearest(z, places) if places else trust.distances(feature, centre, scale, precision), q)
    result: dict[str, Any] = {"centre": _short(centre), "scale": _short(scale), "distances": _short(found), "q": _short(q), "reach": reach}
    result["precision"] = None if precision is None else [_short(row) for row in precision]
    if log:
        result["spread"] = "log"
    if places:
        result["modes"] = [{"centre": _short(mean), "precision": [_short(row) for row in inverse]} for mean, inverse in places]
    if margin is not None:
        low, high = windows.min(axis=(0, 2)).astype(float), windows.max(axis=(0, 2)).astype(float)
        result |= {"low": _short(low - margin * (high - low)), "high": _short(high + margin * (high - low))}
    return result


def histogram(raw: NDArray[np.floating], bins: int = 10) -> dict[str, list[float]]:
    """The card's `drift: score:` from raw scores [N] of windows that raise no alarm and that the model was not trained on (its own are
    scored too well). Even bins, fewer where many scores are alike."""
    scores = np.asarray(raw, dtype=np.float64)
    edges = np.unique(_short(np.quantile(scores, np.arange(1, bins) / bins)))
    falls = np.searchsorted(edges, scores, side="right")
    return {"edges": edges.tolist(), "share": _short(np.bincount(falls, minlength=len(edges) + 1) / len(scores))}


def conformal(errors: NDArray[np.floating], coverage: float = 0.9) -> dict[str, float | int]:
    """The card's `head: conformal:` from held-out errors [N], of windows that do not overlap: split conformal (Papadopoulos et al. 2002).
    ValueError where they are too few for that coverage."""
    sizes = np.sort(np.abs(np.asarray(errors, dtype=np.float64)))
    rank = int(np.ceil((len(sizes) + 1) * coverage))
    if rank > len(sizes):
        raise ValueError(f"{len(sizes)} held-out windows cannot promise {coverage:g}; {int(np.ceil(coverage / (1 - coverage)))} can")
    return {"half": float(f"{sizes[rank - 1]:.7g}"), "coverage": coverage, "windows": len(sizes)}


def _floor(feature: NDArray[np.float64]) -> NDArray[np.float64]:
    """A channel that stood still in training must not make every later twitch infinitely new."""
    size = feature.shape[1] // 2
    typical = np.abs(feature[:, :size]).mean(axis=0)
    return np.maximum(np.concatenate([typical, typical]) * 1e-3, 1e-6)


def _precision(z: NDArray[np.float64], shrink: float = 0.1) -> NDArray[np.float64]:
    covariance = (1 - shrink) * (z.T @ z / len(z)) + shrink * np.eye(z.shape[1])
    inverse = np.linalg.inv(covariance)
    return np.asarray((inverse + inverse.T) / 2)


def _modes(z: NDArray[np.float64], count: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Centre and inverse covariance of `count` Gaussians; the floor of 0.1 deviations lets them bridge what lies between."""
    from sklearn.mixture import GaussianMixture

    found = GaussianMixture(count, covariance_type="full", reg_covar=1e-2, random_state=0, max_iter=50).fit(z)
    return [(mean, (inverse + inverse.T) / 2) for mean, inverse in zip(found.means_, found.precisions_, strict=True)]


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{v:.7g}") for v in values]


def write(folder: Path, *, card: Mapping[str, Any], model: Path, fp32: Path | None, golden_inputs: Feeds) -> None:
    """Write a whole bundle, unsigned, and read it back as the agent would. Files that are not the bundle's are left alone.

    `golden_inputs` are float32 with the batch first (8-32 windows, normal and faulty); the outputs are computed here. ModelRefused.
    """
    checked = cards.check(dict(card))
    files = {"model.onnx": model.read_bytes(), "card.yaml": _yaml(card)}
    if fp32:
        files["model.fp32.onnx"] = fp32.read_bytes()
    files["golden.npz"] = golden.dump(_vectors(files["model.onnx"], checked, golden_inputs))
    files[manifest.MANIFEST] = manifest.build(checked.name, checked.version, dict(files))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.SIGNATURE).unlink(missing_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    if not fp32:
        (folder / "model.fp32.onnx").unlink(missing_ok=True)
    _admit(folder)


def _admit(folder: Path) -> None:
    from edge_agent.diagnose.bundle import read

    read(folder, dev=True)


def _vectors(model: bytes, card: cards.Card, inputs: Feeds) -> dict[str, NDArray[np.float32]]:
    feeds = {name: np.ascontiguousarray(inputs[name], dtype=np.float32) for name in card.inputs()}
    names = list(card.outputs())
    outputs = open_session(model, "model.onnx").run(names, feeds)
    return {f"in_{n}": a for n, a in feeds.items()} | {f"out_{n}": a for n, a in zip(names, outputs, strict=True)}


class _Dumper(yaml.SafeDumper):
    """Numbers in one line, everything else one key a line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        flat = all(isinstance(item, int | float | str) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat or flow_style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(card: Mapping[str, Any]) -> bytes:
    plain = _plain(card)
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140, default_flow_style=False).encode()


def _plain(value: Any) -> Any:
    """numpy and tuples to what YAML knows."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
