"""What does the agent's answer name, in the words of a benchmark?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from edge_agent.lab.data import Texts
from edge_agent.lab.heard import Heard
from edge_agent.messages import Diagnosis

NONE = "?"  # the agent named nothing: late, failed, still learning, or its head has no labels
Reader = Callable[[str], str]


def single(heard: Sequence[Heard], read: Reader) -> Texts:
    """The label of each window of all episodes."""
    return np.array([NONE if d.label is None else read(d.label) for h in heard for d in h.said])


def of_target(heard: Sequence[Heard], target: str, read: Reader) -> Texts:
    """The label of each window of all episodes for one of several targets: its probabilities
    are named `target=label` (or with `:`, `/`, `_`, a space)."""
    return np.array([_best(d, target, read) for h in heard for d in h.said])


def number(text: str) -> str:
    """The number in a label: "valve 90 %" -> "90"; the text itself where there is none."""
    found = re.findall(r"\d+", text)
    return str(int(found[-1])) if found else text.casefold()


def truths(heard: Sequence[Heard], target: str) -> Texts:
    """What was true of each window of all episodes."""
    return np.concatenate([h.truth[target] for h in heard])


def _best(diagnosis: Diagnosis, target: str, read: Reader) -> str:
    shares = _shares(diagnosis, target)
    return read(max(shares, key=shares.__getitem__)) if shares else NONE


def _shares(diagnosis: Diagnosis, target: str) -> dict[str, float]:
    pattern = re.compile(rf"{re.escape(target)}[=:/_ .-](.+)", re.IGNORECASE)
    return {found[1]: share for label, share in diagnosis.probabilities.items() if (found := pattern.fullmatch(label))}
