"""What the plant says beside what the configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.config.load import parse
from edge_agent.doctor import Finding, examine

pytestmark = pytest.mark.anyio

TEXT = """
version: 1
agent: {name: a, owner: o, state: STATE}
connectors: {plant: {type: sim, every: 20 ms}}
tags:
  flow: {from: plant, wave: constant, mean: 30, unit: l/min, range: [0, 60]}
  hot: {from: plant, wave: constant, mean: 900, unit: degC, range: [0, 100]}
  trim: {from: plant, write: true, limits: [-100, 100]}
"""


async def look(tmp_path: Path) -> dict[str, Finding]:
    configuration = parse(TEXT.replace("STATE", str(tmp_path)), folder=tmp_path)
    return {finding.about: finding for finding in await examine(configuration, clock=SystemClock(), within_s=5.0)}


async def test_a_good_value_is_shown_and_a_value_out_of_range_is_a_finding(tmp_path: Path) -> None:
    found = await look(tmp_path)
    assert found["link plant"].ok
    assert found["tag flow"].ok
    assert "30, good" in found["tag flow"].what
    assert not found["tag hot"].ok
    assert "range" in found["tag hot"].what
