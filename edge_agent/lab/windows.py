"""Which labelled windows are in this file, and do they fit the bundle? Refusals say what is wrong and how to mend it.

An .npz with `window` float32 [N, C, W] in the roles' units; optional: `baseline` [N, 2, C] or [2, C], `label` [N] (texts, or 0 and 1),
`roles` [C] and `units` [C] (texts; then order and units are checked, and converted where they can be).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent import units
from edge_agent.diagnose.card import Card
from edge_agent.lab.data import DataRefused, Texts

Floats = NDArray[np.float32]
LEAST = 32  # windows to calibrate on: below, the ranges are those of a handful of moments
NORMAL, FAULT = "normal", "fault"  # what 0 and 1 mean where the model has no labels of its own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Windows in the card's order and units. A picture: each colour is a channel, its pixels are the rows."""

    where: str
    values: Floats = field(repr=False)  # [N, C, W]
    baselines: Floats | None = field(default=None, repr=False)  # [N, 2, C]
    labels: Texts | None = field(default=None, repr=False)  # [N]

    def __len__(self) -> int:
        return len(self.values)

    def feeds(self, card: Card, pick: slice | NDArray[np.int64] = slice(None)) -> dict[str, Floats]:
        """The graph's inputs."""
        values = np.ascontiguousarray(self.values[pick])
        made = {card.graph.window: values.reshape(-1, *card.inputs()[card.graph.window])}
        if card.graph.baseline and self.baselines is not None:
            made[card.graph.baseline] = np.ascontiguousarray(self.baselines[pick])
        return made

    def some(self, most: int) -> Windows:
        """At most so many, evenly spread."""
        pick = np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).astype(int))
        return replace(
            self,
            values=self.values[pick],
            baselines=None if self.baselines is None else self.baselines[pick],
            labels=None if self.labels is None else self.labels[pick],
        )


def read(file: Path, card: Card) -> Windows:
    """Windows from an .npz, checked against the card. DataRefused."""
    arrays = _arrays(file)
    if "window" not in arrays:
        raise DataRefused(f"{file}: holds {', '.join(arrays) or 'nothing'}; write the windows as `window`, float32 [N, channels, rows]")
    return fitted(arrays, card, str(file))


def fitted(arrays: dict[str, NDArray[Any]], card: Card, where: str) -> Windows:
    """Arrays of these names as windows of this card. DataRefused."""
    values = np.asarray(arrays["window"], dtype=np.float32)
    shape = card.inputs()[card.graph.window]
    if values.shape[1:] != shape or not len(values):
        what = "colours, height, width" if card.picture else "channels, then rows"
        raise DataRefused(f"{where}: window has shape {list(values.shape)}; {card.name} takes [N, {', '.join(map(str, shape))}]: {what}")
    values = values.reshape(*values.shape[:2], -1) if card.picture else _in_roles(values, arrays, card, where)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).any(axis=(1, 2)).sum())
        raise DataRefused(f"{where}: {count} windows hold NaN or infinity; leave them out, as the agent would")
    return Windows(
        where=where, values=values, baselines=_baselines(arrays, card, len(values), where), labels=_labels(arrays, card, len(values), where)
    )


def refuse_calibration(windows: Windows, card: Card) -> None:
    """DataRefused if too few, all of one kind, or all the same: ranges measured on them would cut off what was not there."""
    if len(windows) < LEAST:
        raise DataRefused(f"{windows.where}: {len(windows)} windows to calibrate on; give at least {LEAST}, normal and faulty")
    if windows.labels is not None and len(set(windows.labels.tolist())) < 2:
        raise DataRefused(
            f"{windows.where}: all {len(windows)} windows to calibrate on are {str(windows.labels[0])!r}; add windows of other labels"
        )
    if float(np.ptp(windows.values, axis=0).max()) == 0.0:
        raise DataRefused(
            f"{windows.where}: all windows to calibrate on are the same; give windows from all of the machine's working range"
        )


def refuse_evaluation(windows: Windows, calibration: Windows | None) -> None:
    """DataRefused if nothing can be measured on them, or if they are the windows that the model was calibrated on."""
    if windows.labels is not None and len(set(windows.labels.tolist())) < 2:
        raise DataRefused(
            f"{windows.where}: all windows to evaluate on are {str(windows.labels[0])!r}: any model is right; add other labels"
        )
    if calibration is None:
        return
    known = {window.tobytes() for window in calibration.values}
    twice = sum(window.tobytes() in known for window in windows.values)
    if twice:
        raise DataRefused(
            f"{windows.where}: {twice} of {len(windows)} windows also stand in {calibration.where}: the split leaks; evaluate on other runs"
        )


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as e:
        raise DataRefused(f"{file}: not an .npz of plain arrays ({e}); write it with numpy.savez") from e


def _in_roles(values: Floats, arrays: dict[str, NDArray[Any]], card: Card, where: str) -> Floats:
    """In the card's order and units, where the file says its own."""
    roles = [role.role for role in card.roles]
    if "roles" in arrays:
        given = [str(r) for r in arrays["roles"].tolist()]
        if sorted(given) != sorted(roles):
            odd = sorted(set(given) ^ set(roles))
            raise DataRefused(f"{where}: roles: {', '.join(odd)}: missing or unknown; {card.name} has {', '.join(roles)}")
        order = [given.index(role) for role in roles]
    else:
        order = list(range(len(roles)))
    values = values[:, order]
    if "units" not in arrays:
        return values
    said = [str(u) for u in arrays["units"].tolist()]
    if len(said) != len(roles):
        raise DataRefused(f"{where}: {len(said)} units for {len(roles)} channels; give one each")
    for i, role in enumerate(card.roles):
        try:
            scale, offset = units.factor(said[order[i]], role.unit) if role.unit and said[order[i]] else (1.0, 0.0)
        except ValueError as e:
            raise DataRefused(f"{where}: channel {role.role}: {e}") from e
        values[:, i] = values[:, i] * scale + offset
    return np.ascontiguousarray(values, dtype=np.float32)


def _baselines(arrays: dict[str, NDArray[Any]], card: Card, count: int, where: str) -> Floats | None:
    if card.graph.baseline is None:
        return None
    if "baseline" not in arrays:
        raise DataRefused(
            f"{where}: {card.name} needs `baseline` [2, {len(card.roles)}] or one each window: centre and scale learnt on that machine"
        )
    found = np.asarray(arrays["baseline"], dtype=np.float32)
    found = np.repeat(found[None], count, axis=0) if found.ndim == 2 else found
    if found.shape != (count, 2, len(card.roles)) or not np.isfinite(found).all() or (found[:, 1] <= 0).any():
        raise DataRefused(
            f"{where}: baseline has shape {list(found.shape)} or a scale that is not positive; expected [{count}, 2, {len(card.roles)}]"
        )
    return found


def _labels(arrays: dict[str, NDArray[Any]], card: Card, count: int, where: str) -> Texts | None:
    if "label" not in arrays:
        return None
    given = arrays["label"]
    if given.shape != (count,):
        raise DataRefused(f"{where}: {list(given.shape)} labels for {count} windows; give one each")
    known = set(card.labels) or {NORMAL, FAULT}
    labels = np.array([_word(v, known) for v in given.tolist()])
    if strange := sorted(set(labels.tolist()) - known):
        said = ", ".join(sorted(known))
        raise DataRefused(f"{where}: label {strange[0]!r} is none of {card.name}'s: {said}; write them as the card does")
    return labels


def _word(value: Any, known: set[str]) -> str:
    if str(value) not in known and isinstance(value, bool | int | float) and value in (0, 1):
        return FAULT if value else NORMAL
    return str(value)
