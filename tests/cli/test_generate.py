"""What is made from the code is fresh."""

from __future__ import annotations

from pathlib import Path

from edge_agent.cli import COMMANDS, document, generate
from edge_agent.metrics import METRICS

CHECKOUT = Path(__file__).parents[2]


def test_every_generated_file_is_fresh() -> None:
    assert not sorted(generate.stale(CHECKOUT)), "run `make generate`"


def test_every_command_is_described() -> None:
    page = document.text()
    assert not [name for name in COMMANDS if f"### `edge-agent {name}`\n" not in page]
    assert "### `edge-agent ledger verify`" in page


def test_every_metric_is_described() -> None:
    page = (CHECKOUT / "docs/metrics.md").read_text()
    assert not [name for name, *_ in METRICS if f"| `edge_agent_{name}" not in page]


def test_stale_files_are_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "metrics.md").write_text("old")
    assert "docs/metrics.md" in generate.stale(tmp_path)
    assert (tmp_path / "docs" / "metrics.md").read_text() == "old"
