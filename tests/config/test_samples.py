"""Every sample that we ship is right."""

from pathlib import Path

import pytest

from edge_agent.config import effective
from edge_agent.config.load import load, parse

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.name)
def test_every_sample_is_right(file: Path) -> None:
    configuration = load(file, resolve_secrets=False)
    assert configuration.file.loops
    assert "yaml-language-server: $schema=" in file.read_text() or file.name == "demo.yaml"


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.name)
def test_every_sample_comes_out_as_effective_and_means_the_same(file: Path) -> None:
    first = load(file, resolve_secrets=False)
    again = parse(effective.text(first), str(file), folder=file.parent, resolve_secrets=False)
    assert again.hash == first.hash


def test_two_hundred_pumps_are_six_hundred_tags() -> None:
    configuration = load(CONFIGS / "two-hundred-pumps.yaml")
    assert len(configuration.file.loops) == 200
    assert len(configuration.tags) == 600
    assert configuration.tags["l2p07_flow"].from_ == "plc2"
    assert configuration.tags["main1_flow"].range == (0.0, 240.0)
    assert len((CONFIGS / "two-hundred-pumps.yaml").read_text().splitlines()) < 60
