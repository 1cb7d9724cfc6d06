"""What does a graph answer to many windows, each judged for itself: score, alarm, label, confidence, novelty?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose import trust
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.session import open_session
from edge_agent.lab import metrics
from edge_agent.lab.data import Texts
from edge_agent.lab.heard import window_of
from edge_agent.lab.windows import NORMAL, Windows
from edge_agent.messages import Diagnosis

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """One entry a window [N]. `score` is calibrated; NaN where the model failed."""

    score: Floats = field(repr=False)
    alarm: Bools = field(repr=False)
    novel: Bools = field(repr=False)
    label: Texts = field(repr=False)  # the head's own, else normal or fault by the alarm
    confidence: Floats = field(repr=False)  # NaN where the head gives none
    failed: Bools = field(repr=False)


class Asker:
    """One graph of a bundle, opened once."""

    def __init__(self, bundle: Bundle, graph: bytes) -> None:
        self._bundle, self._head = bundle, bundle.head()
        self._names = list(bundle.outputs)
        self._session = open_session(graph, bundle.id)
        card = bundle.card
        self._familiar = trust.Familiarity(card.envelope) if card.envelope else None
        self._limit, self._own_novelty = card.thresholds.novelty, card.graph.outputs.novelty

    def outputs(self, windows: Windows) -> dict[str, NDArray[np.float32]]:
        """The graph's raw outputs, in batches that it takes."""
        step = self._bundle.batch
        parts = [self._session.run(self._names, windows.feeds(self._bundle.card, slice(i, i + step))) for i in range(0, len(windows), step)]
        return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(self._names)}

    def ask(self, windows: Windows) -> Answers:
        """The head's reading of each window, calibrated, and whether the novelty gate would refuse it. No smoothing."""
        outputs = self.outputs(windows)
        said = [self._read({n: a[i : i + 1] for n, a in outputs.items()}, windows.values[i]) for i in range(len(windows))]
        score = np.array([np.nan if d is None or d.raw is None else trust.calibrate(d.raw, self._bundle.card.calibration) for d in said])
        alarm = self._alarm(said, score)
        label = np.array([(d.label if d and d.label else "fault" if hot else NORMAL) for d, hot in zip(said, alarm, strict=True)])
        sure = np.array([np.nan if d is None or d.confidence is None else d.confidence for d in said])
        failed = np.array([d is None for d in said], dtype=bool)
        return Answers(score=score, alarm=alarm, novel=self._novel(windows, outputs), label=label, confidence=sure, failed=failed)

    def raw(self, windows: Windows) -> Floats:
        """The head's raw score of each window; NaN where it fails."""
        outputs = self.outputs(windows)
        said = [self._read({n: a[i : i + 1] for n, a in outputs.items()}, windows.values[i]) for i in range(len(windows))]
        return np.array([np.nan if d is None or d.raw is None else d.raw for d in said])

    def novel(self, windows: Windows) -> Bools:
        """What the novelty gate refuses."""
        return self._novel(windows, self.outputs(windows) if self._own_novelty else {})

    def own_novelty(self, where: str) -> Callable[[NDArray[np.floating]], NDArray[np.floating]]:
        """What the graph itself says of windows [N, C, W], for models without a baseline."""
        name = str(self._own_novelty)
        return lambda values: self.outputs(Windows(where=where, values=values.astype(np.float32)))[name].astype(np.float64)

    def _novel(self, windows: Windows, outputs: dict[str, NDArray[np.float32]]) -> Bools:
        if self._limit is None:
            return np.zeros(len(windows), dtype=bool)
        found = np.zeros(len(windows)) if self._own_novelty is None else outputs[self._own_novelty].astype(np.float64)
        if self._familiar is not None:
            bases = [None] * len(windows) if windows.baselines is None else list(windows.baselines)
            said = [self._familiar.novelty(w, b) for w, b in zip(windows.values, bases, strict=True)]
            found = np.maximum(found, said)
        return np.asarray(found > self._limit)

    def _read(self, outputs: dict[str, NDArray[np.float32]], values: NDArray[np.float32]) -> Diagnosis | None:
        if not all(np.isfinite(a).all() for a in outputs.values()):
            return None
        try:
            return self._head.read(outputs, window_of(self._bundle, values, 0, 0, _NS))
        except ValueError:
            return None  # the head says that this is no answer: counted as failed

    def _alarm(self, said: list[Diagnosis | None], score: Floats) -> Bools:
        limit = self._bundle.card.thresholds.alarm
        if limit is not None:
            return np.asarray(np.nan_to_num(score, nan=-np.inf) >= limit)
        normal = self._bundle.card.normal
        return np.array([d is not None and d.label is not None and d.label not in normal for d in said], dtype=bool)


def figures(answers: Answers, labels: Texts, normal: Sequence[str]) -> dict[str, float]:
    """Accuracy, macro F1, and the AUROC of normal against all else."""
    found = metrics.classification(answers.label, labels)
    area = metrics.auroc(answers.score, ~np.isin(labels, list(normal)))
    return found | ({} if area is None else {"auroc": area}) | {"refused": float(answers.novel.mean())}


def normal_words(bundle: Bundle) -> tuple[str, ...]:
    """What the bundle calls the normal state, or that of each part."""
    return bundle.card.normal or (NORMAL,)


def golden_windows(bundle: Bundle) -> Windows:
    """The bundle's own golden inputs, without labels."""
    card = bundle.card
    inputs = bundle.golden_inputs
    bases = inputs[card.graph.baseline] if card.graph.baseline else None
    values = np.asarray(inputs[card.graph.window])
    return Windows(where=f"{bundle.path}/golden.npz", values=values.reshape(*values.shape[:2], -1), baselines=bases)


def labelled_by(windows: Windows, answers: Answers) -> Windows:
    """The windows with a model's own answers for labels: to see what changes when nobody said what is true."""
    return replace(windows, labels=answers.label)
