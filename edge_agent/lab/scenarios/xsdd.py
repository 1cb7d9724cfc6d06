"""Steel surface, random 70/30 over five seeds: how good beside the published figure?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.lab import metrics
from edge_agent.lab.catalog import Card, Figure, Target
from edge_agent.lab.data import Channel, DataRefused, Episode, Run, unique
from edge_agent.lab.heard import Bools, Heard
from edge_agent.lab.naming import single, truths
from edge_agent.lab.split import Fold, holding_out

TARGET, SEEDS, SHARE = "defect", 5, 0.30


class Scenario:
    """Each class is divided by itself; identical files stay together."""

    card = Card(
        name="xsdd",
        folder="xsdd",
        title="X-SDD hot-rolled steel, 7 classes, random 70/30",
        data="github.com/Fighter20092392/X-SDD-A-New-benchmark commit adf88081; Feng, Gao, Luo, Symmetry 13(4) 706, 2021",
        licence="Apache-2.0",
        split="30 % of each class at random, five seeds; identical files on one side",
        metric="accuracy",
        channels=(Channel(name="picture", unit=None),),
        every_s=None,
        rows=(1, 1 << 20),
        published=(
            Figure(
                who="RepVGG+SA",
                figures={"accuracy": 0.9510, "macro_f1": 0.9325},
                source="Symmetry 13(4) 706",
                note="its split is not published",
            ),
            Figure(
                who="CNN of 45k parameters", figures={"accuracy": 0.919, "macro_f1": 0.914}, source="measured with this project's split"
            ),
        ),
        targets=(Target(metric="accuracy", at=">=", value=0.951), Target(metric="macro_f1", at=">=", value=0.933)),
        traps=("70 % of one class are PNG, all else is JPEG: the file type tells the class", "neighbouring numbers look like one strip"),
    )

    def load(self, folder: Path) -> tuple[Run, ...]:
        """One run a picture: grey, uint8 [1, H, W]; byte-identical files share a group. DataRefused."""
        home = folder / "datas" if (folder / "datas").is_dir() else folder
        files = sorted(f for f in home.glob("*/*") if f.suffix.casefold() in (".jpg", ".png"))
        return unique([_read(f) for f in files], str(folder))

    def folds(self, runs: Sequence[Run]) -> tuple[Fold, ...]:
        """Five seeds."""
        return tuple(holding_out(runs, drawn(runs, seed), f"seed {seed}") for seed in range(SEEDS))

    def episodes(self, runs: Sequence[Run]) -> tuple[Episode, ...]:
        """Each picture once."""
        return tuple(Episode(run=r.name, group=r.together, values=r.values, truth=r.truth) for r in runs)

    def judge(self, heard: Sequence[Heard]) -> dict[str, float]:
        """Accuracy, macro F1, and what novelty refuses."""
        refused = float(np.concatenate([h.refused() for h in heard]).mean())
        return metrics.classification(single(heard, read), truths(heard, TARGET)) | {"refused_clean": refused}

    def right(self, heard: Sequence[Heard]) -> Bools | None:
        """Whether the label is the true one."""
        return np.asarray(single(heard, read) == truths(heard, TARGET))

    def blind(self, heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
        """Always the most frequent class."""
        true = list(truths(heard, TARGET))
        return {"always the most frequent class": metrics.classification([Counter(true).most_common(1)[0][0]] * len(true), true)}


def read(label: str) -> str:
    """A card's word for a class as the folder's name."""
    return label.replace("_", " ").casefold()


def classes(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each class."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(str(run.truth[TARGET][0]), []).append(run)
    return found


def drawn(runs: Sequence[Run], seed: int) -> set[str]:
    """Groups for the test side: of each class about 30 %."""
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for _, members in sorted(classes(runs).items()):
        groups = sorted({run.together for run in members})
        held |= {groups[i] for i in rng.permutation(len(groups))[: round(SHARE * len(groups))]}
    return held


def _read(file: Path) -> Run:
    try:
        import cv2
    except ImportError as e:
        raise DataRefused("pictures need OpenCV; install it with: pip install 'edge-agent[vision]'") from e
    raw = file.read_bytes()
    picture = cv2.imdecode(np.frombuffer(raw, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise DataRefused(f"{file}: not a picture that can be decoded; remove it or fetch it again")
    kind = file.parent.name
    group = hashlib.sha256(raw).hexdigest()[:16]
    return Run(
        name=f"{kind}/{file.name}",
        group=group,
        values=np.asarray(picture, dtype=np.uint8)[None],
        truth={TARGET: np.array([kind.casefold()])},
    )
