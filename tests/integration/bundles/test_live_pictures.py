"""Does a bundle of pictures say live, behind a camera, what it says of the same pictures when it is asked alone?"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from edge_agent.diagnose import bundle as bundles
from edge_agent.diagnose import golden
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.picture import fitted
from edge_agent.diagnose.session import open_session

from .live import diagnoses, running, until
from .rows import DATA, ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PICTURES = 14
FOLDERS = sorted(card.parent for card in (ROOT / "models").glob("*/card.yaml") if "\npicture:" in card.read_text())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_behind_a_camera_it_says_what_it_says_alone(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "models" / folder.name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    bundle = bundles.read(folder, dev=True)
    pictures = _at_hand() or _golden(bundle)
    _configure(tmp_path, folder.name)
    with running(tmp_path) as page:
        until("the camera and the loop", lambda: page()["connectors"]["camera"]["up"] and "strip" in page()["loops"])
        for i, picture in enumerate(pictures):
            _show(tmp_path / "strip", i, picture)
            until(f"what it says of picture {i}", lambda i=i: page()["loops"]["strip"]["turns"] == i + 1)  # type: ignore[misc]
    live = diagnoses(tmp_path)
    alone = [_alone(bundle, picture) for picture in pictures]
    assert len(live) == len(alone) == len(pictures) >= 7
    for said, (label, probabilities) in zip(live, alone, strict=True):
        if said["status"] == "novel":  # its own gate: the network was not asked to answer for it
            continue
        assert max(said["probabilities"], key=said["probabilities"].get) == label
        assert [said["probabilities"][name] for name in bundle.card.head["labels"]] == pytest.approx(probabilities, abs=1e-4)
    assert sum(said["status"] == "ok" for said in live) >= len(live) / 2


def _at_hand() -> list[NDArray[np.uint8]]:
    """Two pictures of each class of X-SDD, where it lies beside the checkout."""
    classes = sorted(p for p in (DATA / "xsdd" / "datas").glob("*") if p.is_dir())
    files = [file for kind in classes for file in sorted(kind.iterdir())[:2]]
    return [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files][:PICTURES]


def _golden(bundle: Bundle) -> list[NDArray[np.uint8]]:
    inputs, _ = golden.split(golden.load((bundle.path / "golden.npz").read_bytes()), bundle.card)
    return [picture[0].round().astype(np.uint8) for picture in inputs[bundle.card.graph.window]][:PICTURES]


def _alone(bundle: Bundle, picture: NDArray[np.uint8]) -> tuple[str, list[float]]:
    """Label and probabilities, straight from the graph."""
    assert bundle.card.picture
    feeds = {bundle.card.graph.window: fitted(picture, bundle.card.picture)[None]}
    found = open_session(bundle.model, bundle.id).run([bundle.card.graph.outputs.probabilities or ""], feeds)[0][0]
    return bundle.card.head["labels"][int(found.argmax())], found.tolist()


def _configure(folder: Path, model: str) -> None:
    (folder / "strip").mkdir()
    states = {"quiet": [{"when": "confidence > 2", "go": "loud"}], "loud": [{"when": "confidence < 2", "go": "quiet"}]}
    keep = {"alarms": None, "novel": False, "drifting": False, "random": "100%", "per_day": 10_000}
    loop = {
        "perceive": {"tags": ["surface"], "window": 1},
        "diagnose": {"model": model, "smooth": 1}, "decide": {"policy": "rules", "states": states},
        "feedback": {"keep": keep, "label_outcomes": False},
    }  # fmt: skip
    config = {
        "version": 1, "agent": {"name": "live", "owner": "acme"}, "models": {"unsigned": True},
        "connectors": {"camera": {"type": "camera", "folder": str(folder / "strip")}},
        "tags": {"surface": {"from": "camera", "colour": "grey"}}, "loops": {"strip": loop},
    }  # fmt: skip
    (folder / "live.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def _show(folder: Path, number: int, picture: NDArray[np.uint8]) -> None:
    """As a camera's own software does: written aside, then renamed."""
    aside = folder.parent / "aside.png"
    assert cv2.imwrite(str(aside), picture)
    aside.rename(folder / f"{number:04}.png")
