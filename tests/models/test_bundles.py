"""Does every bundle in models/ keep what a bundle promises: admitted, golden, figures for both precisions, small?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.diagnose import bundle, golden
from edge_agent.diagnose.session import open_session
from edge_agent.diagnose.trust import Familiarity

MODELS = Path(__file__).parents[2] / "models"
FOLDERS = sorted(card.parent for card in MODELS.glob("*/card.yaml"))
LARGEST = 5_000_000  # bytes, all files but recipe and README

every_bundle = pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)


@every_bundle
def test_a_bundle_is_admitted_and_gives_its_golden_answers_here(folder: Path) -> None:
    read = bundle.read(folder, dev=True)
    inputs, expected = golden.split(golden.load((folder / "golden.npz").read_bytes()), read.card)
    found = open_session(read.model, "model.onnx").run(list(expected), inputs)
    golden.compare(dict(zip(expected, found, strict=True)), expected, read.card)


@every_bundle
def test_its_card_says_how_good_it_is_and_measured_on_what(folder: Path) -> None:
    card = bundle.read(folder, dev=True).card
    assert card.metrics.protocol
    assert card.metrics.fp32
    assert set(card.metrics.fp32) <= set(card.metrics.int8)
    assert card.provenance.split
    assert card.provenance.code == f"models/{folder.name}/train.py"
    assert card.intended.not_for
    assert (folder / "train.py").is_file()


@every_bundle
def test_its_card_lists_the_runs_it_was_trained_on(folder: Path) -> None:
    card = bundle.read(folder, dev=True).card
    assert card.provenance.runs or folder.name == "demo-pump", "a benchmark could not tell seen from unseen"


@every_bundle
def test_int8_stays_within_a_point_of_fp32(folder: Path) -> None:
    metrics = bundle.read(folder, dev=True).card.metrics
    task = [k for k in metrics.fp32 if k in ("f1", "macro_f1", "accuracy") or k.startswith(("accuracy_", "auroc_"))]
    assert task
    assert all(metrics.int8[k] >= metrics.fp32[k] - 0.01 for k in task)


@every_bundle
def test_it_is_small(folder: Path) -> None:
    assert sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".onnx", ".yaml", ".npz", ".json")) <= LARGEST


@every_bundle
def test_its_novelty_gate_refuses_windows_of_another_scale(folder: Path) -> None:
    card = bundle.read(folder, dev=True).card
    assert card.envelope
    assert card.thresholds.novelty
    familiar = Familiarity(card.envelope)
    inputs, _ = golden.split(golden.load((folder / "golden.npz").read_bytes()), card)
    windows = inputs[card.graph.window]
    windows = windows.reshape(*windows.shape[:2], -1)
    bases = list(inputs[card.graph.baseline]) if card.graph.baseline else [None] * len(windows)
    refused = [familiar.novelty(w * 20, b) >= card.thresholds.novelty for w, b in zip(windows, bases, strict=True)]
    assert np.mean(refused) >= 0.9
