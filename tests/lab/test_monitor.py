"""Does a loop get a first model from nothing but clean windows of its own?"""

import json
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import root
from edge_agent.clock import ManualClock
from edge_agent.diagnose.bundle import read
from edge_agent.diagnose.session import open_session
from edge_agent.feedback import pack
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.writer import Identity, Limits
from edge_agent.messages import Window

CONFIG = """
version: 1
agent: {name: line, owner: acme, state: /tmp/none}
connectors: {plc: {type: sim}}
tags:
  flow: {from: plc, unit: l/min, range: [0, 60]}
  current: {from: plc, unit: A}
  level: {from: plc}
loops:
  p1:
    perceive: {tags: [flow, current, level], every: 1 s, window: 20}
    diagnose: {model: p1-monitor}
    decide: {policy: rules, states: {normal: [{when: score > 0.8, go: high}], high: []}}
"""


def clean(count: int = 800, seed: int = 0) -> Any:
    """Flow and current go up and down together; the level has a life of its own."""
    rng = np.random.default_rng(seed)
    load = np.cumsum(rng.normal(0, 0.1, count))
    load -= load.mean()
    flow = 30 + 3 * np.tanh(load)[:, None] + 0.2 * rng.normal(size=(count, 20))
    current = 8 + 1 * np.tanh(load)[:, None] + 0.05 * rng.normal(size=(count, 20))
    level = 1.5 + 0.1 * rng.normal(size=(count, 1)) + 0.02 * rng.normal(size=(count, 20))
    return np.stack([flow, current, level], axis=1).astype(np.float32)


def run(tmp_path: Path, windows: Any, loop: str = "p1", **more: Any) -> Result:
    (tmp_path / "line.yaml").write_text(CONFIG)
    np.savez(tmp_path / "clean.npz", window=windows, **more)
    words = ["models", "monitor", tmp_path / "line.yaml", loop, "--windows", tmp_path / "clean.npz", "--into", tmp_path / "p1-monitor"]
    return CliRunner().invoke(root, list(map(str, words)))


def test_it_watches_relations_and_names_who_broke_them(tmp_path: Path) -> None:
    done = run(tmp_path, clean())
    assert done.exit_code == 0, done.output
    found = read(tmp_path / "p1-monitor", dev=True)
    assert (found.tier, found.card.window.rows, found.card.window.every) == (0, 20, 1.0)
    assert [(r.role, r.unit) for r in found.card.roles] == [("flow", "l/min"), ("current", "A"), ("level", None)]
    assert sum(found.card.drift.score.share) == pytest.approx(1.0)  # type: ignore[union-attr]
    session = open_session(found.model, "m")
    other = clean(400, seed=1)
    t2, q, _ = session.run(["t2", "q", "contributions"], {"window": other})
    assert (np.maximum(t2, q) >= 1.6).mean() < 0.05
    other[:, 1] += 1.0  # each value is one that the current often has, but not at this flow
    t2, q, parts = session.run(["t2", "q", "contributions"], {"window": other})
    assert (np.maximum(t2, q) >= 1.6).mean() > 0.9
    assert (parts.argmax(axis=1) <= 1).mean() > 0.9, "flow or current: their relation is broken"


def test_the_same_windows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert run(tmp_path / name, clean()).exit_code == 0
    assert read(tmp_path / "a" / "p1-monitor", dev=True).hash == read(tmp_path / "b" / "p1-monitor", dev=True).hash


def test_what_somebody_called_a_fault_is_left_out(tmp_path: Path) -> None:
    windows = clean()
    windows[:80] += 100
    labels = np.where(np.arange(800) < 80, "fault", "normal")
    done = run(tmp_path, windows, label=labels)
    assert done.exit_code == 0, done.output
    assert "fitted on 432 windows" in done.output


def test_the_agents_own_inspection_finds_nothing_to_refuse(tmp_path: Path) -> None:
    assert run(tmp_path, clean()).exit_code == 0
    done = CliRunner().invoke(root, ["models", "inspect", str(tmp_path / "p1-monitor"), "--json"])
    report = json.loads(done.output)
    assert report["ok"], [f for f in report["findings"] if f["level"] == "refuse"]


@pytest.mark.parametrize(
    ("windows", "loop", "said"),
    [
        (clean(300), "p1", "300 clean windows; give 572 or more"),
        (clean()[:, :2], "p1", "channels, then rows"),
        (clean(), "p9", "there is no loop 'p9'; there are: p1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_cure(windows: Any, loop: str, said: str, tmp_path: Path) -> None:
    done = run(tmp_path, windows, loop)
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


@pytest.mark.anyio
async def test_it_is_made_straight_from_a_ledger_without_what_was_an_alarm(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "line.yaml").write_text(CONFIG)
    made = Ledger(tmp_path / "ledger", identity=Identity("a1", "acme", {}), clock=clock, limits=Limits(min_free=0), retry_s=0.01)
    made.start()
    lines, faulty = [], []
    for i, values in enumerate(clean(700)):
        values[:] += 100 if (odd := i % 10 == 0) else 0
        cut = Window(
            loop="p1", seq=i, tags=("flow", "current", "level"), start_ns=0, end_ns=i, cut_ns=i, mono_ns=i, values=values,
            quality=np.zeros(values.shape, np.uint16), live={}, fit=True,
        )  # fmt: skip
        faulty += [len(lines)] if odd and i % 20 == 0 else []
        why = ["alarm"] if odd and i % 20 else ["random"]
        lines.append(({**pack.describe(cut), "why": why}, (pack.pack(cut),)))
    seqs = [await made.append("window", payload, loop="p1", blobs=blobs) for payload, blobs in lines]
    for at in faulty:
        await made.append("label", {"about": [seqs[at]], "value": "fault", "author": "anna"}, loop="p1")
    made.close()
    words = ["models", "monitor", tmp_path / "line.yaml", "p1", "--windows", tmp_path / "ledger", "--into", tmp_path / "p1-monitor"]
    done = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(root, list(map(str, words))))
    assert done.exit_code == 0, done.output
    assert "fitted on 378 windows" in done.output, "630 of 700 are clean"
