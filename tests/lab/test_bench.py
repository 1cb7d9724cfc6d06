"""Is what suits this box measured, chosen soberly, and kept beside the bundle?"""

import json
import shutil
from pathlib import Path
from typing import Any

from edge_agent.diagnose.bundle import read
from edge_agent.lab import bench, timing


def row(graph: str, threads: int, p50: float, p99: float) -> dict[str, Any]:
    return {"graph": graph, "provider": "CPU", "threads": str(threads), "p50_us": p50, "p99_us": p99}


def test_a_second_thread_must_be_worth_its_core() -> None:
    assert bench._choose([row("int8", 1, 100.0, 120.0), row("int8", 2, 90.0, 110.0)])["threads"] == 1
    assert bench._choose([row("int8", 1, 100.0, 120.0), row("int8", 2, 50.0, 70.0)])["threads"] == 2
    assert bench._choose([row("int8", 1, 100.0, 120.0), row("int8", 2, 50.0, 900.0)])["threads"] == 1


def test_the_faster_graph_is_chosen() -> None:
    assert bench._choose([row("int8", 1, 100.0, 120.0), row("fp32", 1, 90.0, 110.0)])["graph"] == "fp32"


def test_the_choice_lies_beside_the_bundle_and_the_bundle_stays_as_it_was(good: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(good, tmp_path / "fan"))
    found = read(folder, dev=True)
    reply = bench.grid(found, 10)
    file = bench.write(folder, found, reply["choice"])
    assert file == tmp_path / "fan.session.json"
    kept = json.loads(file.read_text())
    assert kept["bundle"] == found.hash
    assert {"graph", "provider", "threads"} <= kept.keys()
    assert read(folder, dev=True).hash == found.hash
    assert {r["batch"] for r in reply["batches"]} == {1, 4, 16, 64}


def test_memory_is_that_of_a_fresh_process(good: Path) -> None:
    found = read(good, dev=True)
    feeds = {n: a[:1] for n, a in found.golden_inputs.items()}
    grown = timing.memory(found.model, feeds)
    assert grown is not None
    assert 0 < grown < 200_000_000


def test_where_the_processor_does_not_tell_there_is_no_energy(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(timing, "_RAPL", tmp_path)
    assert timing.energy(lambda: None, 10) is None
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.parent.mkdir()
    counter.write_text("1000")
    assert timing.energy(lambda: counter.write_text("3000"), 2) == 0.001
