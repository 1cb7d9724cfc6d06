"""Does the envelope know several places at once, and does it see a channel that stands still?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.diagnose import foreign
from edge_agent.diagnose.card import Envelope
from edge_agent.diagnose.trust import Familiarity

FLAT = {"distances": [0.0, 3.0], "q": [0.0, 1.0]}


def envelope(**changes: Any) -> Envelope:
    return Envelope.model_validate_json(json.dumps({"centre": [0.0, 0.0], "scale": [1.0, 1.0], **FLAT, **changes}))


def around(level: float, spread: float, seed: int = 0) -> NDArray[np.float64]:
    return level + spread * np.random.default_rng(seed).normal(size=(1, 64))


ONE = [[1.0, 0.0], [0.0, 1.0]]
TWO_PLACES = {"modes": [{"centre": [-10.0, 1.0], "precision": ONE}, {"centre": [10.0, 1.0], "precision": ONE}]}


def test_each_of_two_places_is_known_and_the_middle_between_them_is_not() -> None:
    familiar = Familiarity(envelope(**TWO_PLACES))
    assert familiar.novelty(around(-10.0, 1.0)) < 0.5
    assert familiar.novelty(around(10.0, 1.0)) < 0.5
    assert familiar.novelty(around(0.0, 1.0)) == 1.0


def test_with_a_logarithmic_spread_a_stuck_channel_is_novel() -> None:
    stuck = np.full((1, 64), 0.5)
    assert Familiarity(envelope()).novelty(stuck) < 0.5
    assert Familiarity(envelope(spread="log")).novelty(stuck) == 1.0
    assert Familiarity(envelope(spread="log")).novelty(around(0.5, 1.0)) < 0.5


@pytest.mark.parametrize("mode", [{"centre": [0.0], "precision": ONE}, {"centre": [0.0, 0.0], "precision": [[1.0, 0.0]]}])
def test_a_mode_that_does_not_fit_the_features_is_refused(mode: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="modes: each needs a centre of 2"):
        envelope(modes=[mode])


def test_figures_tell_clean_from_foreign_and_broken() -> None:
    known = envelope(spread="log", centre=[5.0, 0.0], scale=[0.3, 0.3])
    clean = np.stack([around(5.0, 1.0, seed) for seed in range(20)])
    found = foreign.figures(known, 0.99, clean, others={"other_machine": clean + 50.0})
    assert found["refused_clean"] == 0.0
    assert found["refused_other_scale"] == found["refused_broken_sensor"] == found["refused_other_machine"] == 1.0
