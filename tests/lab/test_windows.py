"""Does a wrong file of windows say what is wrong and how to mend it?"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.diagnose.bundle import read as read_bundle
from edge_agent.lab import windows
from edge_agent.lab.data import DataRefused


@pytest.fixture
def card(good: Path):  # type: ignore[no-untyped-def]
    return read_bundle(good, dev=True).card


def test_windows_with_roles_and_units_are_put_into_the_cards_order_and_units(lab: SimpleNamespace, card, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    values, labels = lab.cut()
    roles = np.array(["vibration_z", "vibration_x", "vibration_y"])
    mixed = values[:, [2, 0, 1]] * 9.80665
    found = windows.read(lab.npz(tmp_path / "w.npz", mixed, roles=roles, units=np.array(["m/s2"] * 3), label=labels), card)
    assert np.allclose(found.values, values, rtol=1e-4)
    assert found.labels is not None
    assert set(found.labels) == set(lab.LABELS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v, y: {"window": v[:, :2]}, "fan takes \\[N, 3, 100\\]"),
        (lambda v, y: {"window": v[0]}, "fan takes \\[N, 3, 100\\]"),
        (lambda v, y: {"window": np.where(v > 1.2, np.nan, v)}, "hold NaN or infinity; leave them out"),
        (lambda v, y: {"window": v, "units": np.array(["g", "g", "bar"])}, "channel vibration_z: .*bar"),
        (lambda v, y: {"window": v, "units": np.array(["g", "g"])}, "2 units for 3 channels"),
        (lambda v, y: {"window": v, "roles": np.array(["a", "vibration_x", "vibration_y"])}, "roles: a, vibration_z: missing or unknown"),
        (lambda v, y: {"window": v, "label": y[:-1]}, "labels for .* windows; give one each"),
        (lambda v, y: {"window": v, "label": np.where(y == "normal", "broken", y)}, "label 'broken' is none of fan's: normal"),
        (lambda v, y: {"windows": v}, "holds windows; write the windows as `window`"),
    ],
)
def test_what_does_not_fit_is_refused(change, said: str, lab: SimpleNamespace, card, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    np.savez(tmp_path / "w.npz", **change(*lab.cut()))
    with pytest.raises(DataRefused, match=said):
        windows.read(tmp_path / "w.npz", card)


def test_a_file_that_is_no_npz_or_holds_pickles_is_refused(card, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04 nonsense")
    np.savez(tmp_path / "p.npz", window=np.array([{"a": 1}], dtype=object))
    for name in ("w.npz", "p.npz", "missing.npz"):
        with pytest.raises(DataRefused, match=r"not an .npz of plain arrays"):
            windows.read(tmp_path / name, card)


def test_calibration_needs_enough_windows_of_more_than_one_kind(lab: SimpleNamespace, card, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    values, labels = lab.cut()
    few = windows.read(lab.npz(tmp_path / "a.npz", values[:5]), card)
    with pytest.raises(DataRefused, match=r"5 windows to calibrate on; give at least 32"):
        windows.refuse_calibration(few, card)
    normal = labels == "normal"
    one = windows.read(lab.npz(tmp_path / "b.npz", values[normal], label=labels[normal]), card)
    with pytest.raises(DataRefused, match=r"all .* windows to calibrate on are 'normal'; add windows of other labels"):
        windows.refuse_calibration(one, card)
    same = windows.read(lab.npz(tmp_path / "c.npz", np.repeat(values[:1], 40, axis=0)), card)
    with pytest.raises(DataRefused, match=r"are the same"):
        windows.refuse_calibration(same, card)


def test_evaluation_needs_two_labels_and_other_windows(lab: SimpleNamespace, card, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    values, labels = lab.cut()
    found = windows.read(lab.npz(tmp_path / "a.npz", values, label=labels), card)
    with pytest.raises(DataRefused, match=r"also stand in .*: the split leaks; evaluate on other runs"):
        windows.refuse_evaluation(found.some(50), found)
    normal = labels == "normal"
    one = windows.read(lab.npz(tmp_path / "b.npz", values[normal], label=labels[normal]), card)
    with pytest.raises(DataRefused, match=r"any model is right; add other labels"):
        windows.refuse_evaluation(one, None)
