"""Years of records on a small disk: is the bound kept at every step, and goes what is worth least, oldest first? Against a model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_model import Model, Stepper

from edge_agent.feedback import retention
from edge_agent.feedback.store import Store

Figure = Callable[..., None]
LIMIT = 3_000_000
# Beyond the limit, whatever that is: the write-ahead log, which is taken over at 4 MB, the transaction that takes it past that, and
# free pages of the file that have not gone back to the disk yet.
SEGMENT = 6_000_000


def walk(folder: Path, steps: int, seed: int) -> Model:
    """Random steps: appends small and huge, blobs new and known, labels late and wrong, idle turns, restarts. Raises AssertionError."""
    stepper = Stepper(folder, limit=LIMIT, chance=random.Random(seed))
    try:
        for n in range(steps):
            stepper.step()
            assert stepper.bytes() <= LIMIT + SEGMENT, f"step {n}: {stepper.bytes()} bytes on disk"
            if n % 2000 == 1999:
                stepper.check_everything()
        stepper.settle()
        stepper.check_everything()
        assert stepper.size() <= LIMIT, "what is in use keeps the limit itself, once it is quiet"
    finally:
        stepper.close()
    assert stepper.model.written_bytes > 3 * LIMIT, "the limit was met"
    assert stepper.model.dropped["unlabelled"] > steps / 10, "progress was made"
    return stepper.model


def keeps(folder: Path, steps: int, figure: Figure) -> Model:
    model = walk(folder, steps, 1)
    share = {f"{name}_dropped": count for name, count in sorted(model.dropped.items())}
    most = f"{model.most_bytes / 1e6:.1f} MB of {LIMIT / 1e6:.0f} + {SEGMENT / 1e6:.1f}"
    figure("bounded disk", steps=steps, written=f"{model.written_bytes / 1e6:.0f} MB", most=most, **share, wrong=0)
    return model


def test_a_bounded_disk_stays_so(memory: Path, figure: Figure) -> None:
    keeps(memory, 4000, figure)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_a_bounded_disk_stays_so_for_a_hundred_thousand_steps(memory: Path, figure: Figure) -> None:
    model = keeps(memory, 100_000, figure)
    assert model.dropped["labelled"], "it came to the labelled ones, too"


@pytest.mark.control
def test_a_ledger_that_drops_nothing_grows_past_its_limit(memory: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setattr(retention, "step", lambda *a, **k: None)
    with pytest.raises(AssertionError, match="bytes on disk"):
        walk(memory, 20_000, 1)
    figure("bounded disk, control without retention", grows_past_the_limit="yes")


def newest(store: Store, worth: int, max_size: float) -> list[tuple[int, int]]:
    found = store.db.execute(
        "SELECT seq, length(data) FROM record JOIN payload USING (seq) WHERE worth = ? ORDER BY seq DESC LIMIT 50", (worth,)
    )
    return sorted(found)


def labelled_first(step: Any) -> Any:
    def changed(store: Store, max_size: float, note: Any, *, spare: bool = False) -> Any:
        return retention._drop_payloads(store, 1, max_size, note) or step(store, max_size, note, spare=spare)

    return changed


@pytest.mark.control
@pytest.mark.parametrize("wrong", ["newest first", "labelled first"])
def test_the_model_notices_a_wrong_order(memory: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure, wrong: str) -> None:
    if wrong == "newest first":
        monkeypatch.setattr(retention, "_oldest", newest)
    else:
        monkeypatch.setattr(retention, "step", labelled_first(retention.step))
    with pytest.raises(AssertionError, match="went before"):
        walk(memory, 20_000, 1)
    figure(f"bounded disk, control {wrong}", noticed="yes")
