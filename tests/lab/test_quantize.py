"""Does INT8 only replace FP32 where it is faster and good enough, and is the reason said where it does not?"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import helper

from edge_agent.cli import root
from edge_agent.diagnose.bundle import read
from edge_agent.errors import ModelRefused
from edge_agent.lab import quantize as q
from edge_agent.lab import quantized, windows
from edge_agent.lab.data import DataRefused


def hush(line: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def files(lab: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Calibration and evaluation windows of different speeds."""
    home = tmp_path_factory.mktemp("windows")
    values, labels = lab.cut(speeds=(20, 30))
    other, truth = lab.cut(speeds=(40, 50))
    return SimpleNamespace(
        calibration=lab.npz(home / "cal.npz", values, label=labels), evaluation=lab.npz(home / "eval.npz", other, label=truth)
    )


def run(source: Path, files: SimpleNamespace, out: Path, *more: Any) -> Result:
    words = ["models", "quantize", source, "--calibration", files.calibration, "--eval", files.evaluation, "--out", out, *more]
    return CliRunner().invoke(root, list(map(str, words)))


@pytest.mark.slow
def test_the_table_shows_both_and_the_report_is_kept_whatever_comes_out(good: Path, files: SimpleNamespace, tmp_path: Path) -> None:
    done = run(good, files, tmp_path / "out", "--json")
    reply = json.loads(done.output)
    assert done.exit_code == (0 if reply["ok"] else 1)
    assert {"accuracy", "macro_f1", "auroc"} <= reply["int8"]["figures"].keys()
    assert {c["name"] for c in reply["tried"]} >= {"static minmax", "static percentile 99.99", "static entropy", "dynamic"}
    assert reply["int8"]["times"]["p50_us"] > 0
    assert reply["int8"]["worst"]["label"] is not None
    assert json.loads((tmp_path / "out.quantize.json").read_text())["model"] == "fan@1.0.0"
    assert (tmp_path / "out").exists() == reply["ok"]
    assert "worst window" in quantized.text(reply)


def candidate(name: str, p50: float, loss: float) -> q.Candidate:
    return q.Candidate(name=name, graph=b"", loss=loss, times={"p50_us": p50, "p99_us": p50})


def test_slower_here_or_worse_than_allowed_is_refused_with_the_numbers() -> None:
    fp32 = candidate("fp32", 10.0, 0.0)
    assert q._refusals(fp32, candidate("int8", 5.0, 0.004), 0.01) == ()
    (slow,) = q._refusals(fp32, candidate("int8", 12.0, 0.0), 0.01)
    assert slow == "INT8 is slower here: 12.0 us a window, FP32 10.0 us; FP32 stays"
    (worse,) = q._refusals(fp32, candidate("int8", 5.0, 0.05), 0.01)
    assert worse == "INT8 loses 0.0500 on the evaluation windows, 0.0100 are allowed; FP32 stays"


def test_dynamic_is_chosen_only_where_it_is_clearly_faster_or_the_only_good_one() -> None:
    static = candidate("static minmax", 10.0, 0.0)
    assert q._choose([static, candidate("dynamic", 9.5, 0.0)], 0.01) is static
    assert q._choose([static, candidate("dynamic", 5.0, 0.0)], 0.01).name == "dynamic"
    assert q._choose([candidate("static minmax", 5.0, 0.2), candidate("dynamic", 9.0, 0.0)], 0.01).name == "dynamic"
    assert q._choose([candidate("static minmax", 5.0, 0.2), candidate("dynamic", 9.0, 0.3)], 0.01).name == "static minmax"


def test_what_is_taken_is_a_whole_bundle_again(good: Path, files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q, "_refusals", lambda *a: ())
    reply = quantized.run(good, calibration=files.calibration, evaluation=files.evaluation, out=tmp_path / "out", say=hush)
    made = read(tmp_path / "out", dev=True)
    assert reply["ok"]
    assert b"QuantizeLinear" in made.model
    assert made.fp32 is not None
    assert made.card.thresholds == read(good, dev=True).card.thresholds


@pytest.mark.slow
def test_a_sensitive_node_is_left_in_float(lab: SimpleNamespace, files: SimpleNamespace, tmp_path: Path) -> None:
    """The first layer sees one window in a hundred a thousand times stronger: calibrated on it, INT8 sees nothing of the others."""
    folder = lab.write(tmp_path / "fan")
    bundle = read(folder, dev=True)
    calibration = windows.read(files.calibration, bundle.card)
    values = np.array(calibration.values)
    values[::40] = (values[::40] - values[::40].mean(axis=2, keepdims=True)) * 60
    spoilt = windows.Windows(where="spoilt", values=values, labels=calibration.labels)
    judge = q._Judge(bundle, bundle.fp32 or b"", windows.read(files.evaluation, bundle.card))
    prepared = q.prepare(bundle.fp32 or b"")
    feeds = q._feeds(bundle, spoilt)
    (bad,) = q._attempt(judge, "static minmax", lambda: q.static(prepared, feeds, "MinMax"))
    assert bad.loss > 0.05
    found = q._soften(judge, bad, prepared, feeds, 0.01, hush)
    assert found[-1].loss < bad.loss
    assert found[-1].left_in_float


def test_a_bare_file_is_taken_by_its_shapes(lab: SimpleNamespace, files: SimpleNamespace, tmp_path: Path) -> None:
    from edge_agent.lab import bare

    values, labels = lab.cut()
    (tmp_path / "fan.onnx").write_bytes(lab.graph(values, labels).SerializeToString())
    found = bare.read(tmp_path / "fan.onnx")
    assert found.card.labels == ("0", "1", "2")
    assert [r.role for r in found.card.roles] == ["channel0", "channel1", "channel2"]


def test_a_bare_file_of_a_wrong_opset_is_refused(lab: SimpleNamespace, tmp_path: Path) -> None:
    from edge_agent.lab import bare

    made = lab.graph(*lab.cut())
    old = helper.make_model(made.graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)
    (tmp_path / "old.onnx").write_bytes(old.SerializeToString())
    with pytest.raises(ModelRefused, match=r"operator set ai.onnx 9; 11 to 26 are admitted"):
        bare.read(tmp_path / "old.onnx")
    (tmp_path / "text.onnx").write_text("this is no model")
    with pytest.raises(DataRefused, match=r"not an ONNX file"):
        bare.read(tmp_path / "text.onnx")


def test_wrong_input_is_said_before_any_work(good: Path, files: SimpleNamespace, lab: SimpleNamespace, tmp_path: Path) -> None:
    values, labels = lab.cut()
    few = SimpleNamespace(calibration=lab.npz(tmp_path / "few.npz", values[:8], label=labels[:8]), evaluation=files.evaluation)
    with pytest.raises(DataRefused, match=r"8 windows to calibrate on; give at least 32"):
        quantized.run(good, calibration=few.calibration, evaluation=few.evaluation, out=tmp_path / "out", say=hush)
    with pytest.raises(DataRefused, match=r"the split leaks"):
        quantized.run(good, calibration=files.calibration, evaluation=files.calibration, out=tmp_path / "out", say=hush)
    with pytest.raises(DataRefused, match=r"is not there; give an .npz of windows or an agent's ledger"):
        quantized.run(good, calibration=tmp_path / "nothing", evaluation=files.evaluation, out=tmp_path / "out", say=hush)
