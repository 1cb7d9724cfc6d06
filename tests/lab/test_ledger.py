"""Do windows come straight from an agent's ledger or the pool, with the labels that people gave, and nothing that should not?"""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import ManualClock
from edge_agent.diagnose.bundle import Bundle
from edge_agent.diagnose.bundle import read as read_bundle
from edge_agent.feedback import pack
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.reader import Cursor, Reader
from edge_agent.feedback.writer import Identity, Limits
from edge_agent.lab import ledger
from edge_agent.lab.data import DataRefused
from edge_agent.messages import Window

pytestmark = pytest.mark.anyio
TAGS = ("p1_x", "p1_y", "p1_z")


@pytest.fixture
def bundle(good: Path) -> Bundle:
    return read_bundle(good, dev=True)


def window(values: np.ndarray, seq: int, tags: Sequence[str], *, fit: bool) -> Window:
    fields: dict[str, Any] = {"values": values, "quality": np.zeros(values.shape, dtype=np.uint16), "live": {}, "fit": fit}
    return Window(loop="fan", seq=seq, tags=tuple(tags), start_ns=0, end_ns=seq, cut_ns=seq, mono_ns=seq, **fields)


async def fill(
    path: Path, lab: SimpleNamespace, clock: ManualClock, *, tags: Sequence[str] = TAGS, loops: Sequence[str] = ("fan",), rows: int = 100
) -> int:
    """A ledger as the agent writes it: windows with their values, labels that point at them. How many were labelled rightly."""
    values, truth = lab.cut(speeds=(20,), stride=100)
    made = Ledger(path, identity=Identity("a1", "acme", {}), clock=clock, limits=Limits(min_free=0), retry_s=0.01)
    made.start()
    said = 0
    for i, (one, label) in enumerate(zip(values, truth, strict=True)):
        cut = window(one[:, :rows], i, tags, fit=i != 1)
        loop = loops[i % len(loops)]
        seq = await made.append("window", pack.describe(cut), loop=loop, blobs=(pack.pack(cut),))
        if i % 2 == 0:
            await made.append("label", {"about": [seq], "value": str(label), "author": "anna"}, loop=loop)
            said += 1
        elif i == 3:
            await made.append("label", {"about": [seq], "value": "looks odd", "author": "bert"}, loop=loop)
    made.close()
    return said


async def test_labelled_windows_come_out_in_the_cards_order(
    bundle: Bundle, lab: SimpleNamespace, clock: ManualClock, tmp_path: Path
) -> None:
    said = await fill(tmp_path / "ledger", lab, clock, tags=("p1_z", "p1_x", "p1_y"))
    roles = {"vibration_x": "p1_z", "vibration_y": "p1_x", "vibration_z": "p1_y"}
    found = ledger.read(tmp_path / "ledger", bundle.card, roles=roles)
    values, truth = lab.cut(speeds=(20,), stride=100)
    assert len(found) == said
    assert found.labels is not None
    assert found.labels.tolist() == truth[::2].tolist()
    assert np.array_equal(found.values, values[::2])


async def test_tags_of_other_names_are_taken_by_their_order(
    bundle: Bundle, lab: SimpleNamespace, clock: ManualClock, tmp_path: Path
) -> None:
    await fill(tmp_path / "ledger", lab, clock)
    assert np.array_equal(ledger.read(tmp_path / "ledger", bundle.card).values, lab.cut(speeds=(20,), stride=100)[0][::2])


async def test_what_does_not_fit_is_refused(bundle: Bundle, lab: SimpleNamespace, clock: ManualClock, tmp_path: Path) -> None:
    await fill(tmp_path / "two", lab, clock, loops=("a", "b"))
    with pytest.raises(DataRefused, match=r"windows of several loops \(a, b\); choose one with --loop"):
        ledger.read(tmp_path / "two", bundle.card)
    assert len(ledger.read(tmp_path / "two", bundle.card, loop="a")) > 0
    with pytest.raises(DataRefused, match=r"no fit window of loop c"):
        ledger.read(tmp_path / "two", bundle.card, loop="c")
    with pytest.raises(DataRefused, match=r"not p9; name them with --role ROLE=TAG"):
        ledger.read(tmp_path / "two", bundle.card, loop="a", roles={"vibration_x": "p9", "vibration_y": "p1_y", "vibration_z": "p1_z"})
    await fill(tmp_path / "short", lab, clock, rows=50)
    with pytest.raises(DataRefused, match=r"windows of 50 rows; fan takes 100"):
        ledger.read(tmp_path / "short", bundle.card)


async def test_windows_whose_values_were_dropped_are_counted(
    bundle: Bundle, lab: SimpleNamespace, clock: ManualClock, tmp_path: Path
) -> None:
    await fill(tmp_path / "ledger", lab, clock)
    for blob in (tmp_path / "ledger/current/blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    with pytest.raises(DataRefused, match=r"17 were dropped by retention"):
        ledger.read(tmp_path / "ledger", bundle.card)


async def test_the_pool_gives_the_same_windows(bundle: Bundle, lab: SimpleNamespace, clock: ManualClock, tmp_path: Path) -> None:
    import shutil

    import pyarrow as pa
    import pyarrow.parquet

    from edge_agent.pool import manifest
    from edge_agent.pool.parquet import schema

    await fill(tmp_path / "ledger", lab, clock)
    home = tmp_path / "pool" / "a1"
    home.mkdir(parents=True)
    shutil.copytree(tmp_path / "ledger/current/blobs", home / "blobs")
    with Reader(tmp_path / "ledger") as reader:
        rows = [reader.record(row.seq) for row in reader.after(Cursor(), 1000)]
    columns = {name: [None] * len(rows) for name in schema().names}
    columns |= {n: [getattr(r, n) for r in rows] for n in ("epoch", "seq", "kind", "loop")}
    columns |= {"payload": [json.dumps(r.payload) for r in rows if r], "blobs": [list(r.blobs) for r in rows if r]}
    pyarrow.parquet.write_table(pa.table(columns, schema=schema()), home / "1.parquet")
    batch = manifest.Batch(name="1.parquet", records=len(rows), first=manifest.Place(1, 1), last=manifest.Place(1, len(rows)))
    manifest.write(home, manifest.Manifest(agent="a1", files=(batch,)))
    ours, theirs = ledger.read(home, bundle.card), ledger.read(tmp_path / "ledger", bundle.card)
    assert np.array_equal(ours.values, theirs.values)
    assert ours.labels is not None
    assert theirs.labels is not None
    assert ours.labels.tolist() == theirs.labels.tolist()
