"""One running loop: its turns, what they cost, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.config.model import Loop as Configured
from edge_agent.loops import patience_s

LOOP: dict[str, Any] = {"perceive": {"tags": ["a"], "window": 4}, "diagnose": {"model": "m", "timeout": "2 s"}, "decide": {}}


@pytest.mark.parametrize(
    ("writes", "seconds"),
    [({}, 17.0), ({"t": {"verify": {"within": "60 s"}}}, 117.0), ({"t": {}, "u": {}}, 71.0)],
)
def test_a_loop_may_take_as_long_as_its_slowest_writes(writes: dict[str, Any], seconds: float) -> None:
    assert patience_s(Configured.model_validate(LOOP | {"execute": writes})) == seconds
