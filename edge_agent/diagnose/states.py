"""What does a classifier's row of probabilities name: one state of the machine, or one state of each of its parts?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class States:
    """Labels, and which of them mean that nothing is wrong.

    One normal label, or none (every label is a finding): one group of all labels.
    Several: labels are `part=state`, each part is a group of its own with one normal state.
    """

    def __init__(self, labels: Sequence[str], normal: Sequence[str]) -> None:
        self._labels, self._normal = tuple(labels), tuple(normal)
        parts = [label.partition("=")[0] if len(self._normal) > 1 else "" for label in self._labels]
        self._groups = [np.flatnonzero([p == part for p in parts]) for part in dict.fromkeys(parts)]
        self._sound = np.array([label in self._normal for label in self._labels])
        each = min(1, len(self._normal))
        wrong = [parts[g[0]] or "all labels" for g in self._groups if self._sound[g].sum() != each or len(g) < 2]
        if wrong or set(self._normal) - set(self._labels) or len(set(self._labels)) != len(self._labels):
            raise ValueError(_RULE + (f"; see {', '.join(wrong)}" if wrong else ""))

    @property
    def groups(self) -> list[NDArray[np.intp]]:
        """Places of each group's labels in the row."""
        return self._groups

    def shares(self, row: Floats) -> dict[str, float]:
        """Label to probability; those of each group sum to one."""
        found = np.maximum(row, 0.0)
        for group in self._groups:
            found[group] /= max(float(found[group].sum()), 1e-12)
        return {label: float(p) for label, p in zip(self._labels, found, strict=True)}

    def score(self, shares: Mapping[str, float]) -> float:
        """How sure it is that something is wrong: 1 - P(normal) of the part that is least normal; P(best) where nothing is normal."""
        if not self._normal:
            return max(shares.values())
        return 1.0 - min(shares[label] for label, sound in zip(self._labels, self._sound, strict=True) if sound)

    def named(self, shares: Mapping[str, float]) -> tuple[str, float]:
        """Label and its probability: the surest fault; where no part has one, the normal state that is least sure."""
        best = [max((self._labels[i] for i in group), key=shares.__getitem__) for group in self._groups]
        faults = [label for label in best if label not in self._normal]
        label = max(faults, key=shares.__getitem__) if faults else min(best, key=shares.__getitem__)
        return label, shares[label]


_RULE = (
    "each label once, and one of them is `normal` (or none: leave it out); with a list of normal labels, all are called `part=state`, "
    "and each part has at least two states, one of them normal"
)
