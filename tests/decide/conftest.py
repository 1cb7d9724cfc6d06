"""Situations for policies, made by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from edge_agent.contracts import Situation
from edge_agent.messages import Diagnosis, Reading, Window

Situate = Callable[..., Situation]


@pytest.fixture
def situate() -> Situate:
    return situation


def situation(
    at_s: float,
    *,
    tags: Mapping[str, Any] | None = None,
    status: Any = "ok",
    why: str = "",
    applied: Mapping[str, Any] | None = None,
    armed: bool = True,
    **said: Any,
) -> Situation:
    at_ns = 1_700_000_000_000_000_000 + round(at_s * 1e9)
    live = {name: value if isinstance(value, Reading) else Reading(value, 0, at_ns, 0.0) for name, value in (tags or {}).items()}
    window = Window(
        loop="p1",
        seq=round(at_s),
        tags=(),
        start_ns=at_ns,
        end_ns=at_ns,
        cut_ns=at_ns,
        mono_ns=at_ns,
        values=np.zeros((0, 0), np.float32),
        quality=np.zeros((0, 0), np.uint16),
        live=live,
        fit=True,
    )
    diagnosis = Diagnosis(loop="p1", window=round(at_s), end_ns=at_ns, status=status, why=why, **said)
    return Situation(window=window, diagnosis=diagnosis, applied=applied or {}, armed=armed)
