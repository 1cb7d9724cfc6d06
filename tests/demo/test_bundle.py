"""Does the demo's bundle name what the make-believe pump does, from first noise to recovery?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.demo.simulation import Simulation
from edge_agent.diagnose import bundle
from edge_agent.diagnose.session import open_session
from edge_agent.diagnose.trust import Familiarity

BUNDLE = Path(__file__).parents[2] / "models" / "demo-pump"
SIGNALS = ("flow", "pressure_in", "pressure_out", "current", "vibration", "speed")
ROWS, SCANS = 16, 5


class Said(NamedTuple):
    """What the model says after a row, beside the truth."""

    t: float
    label: str
    score: float
    novelty: float
    truth: str


class Watched:
    """A plant, and a model that looks at it every half second."""

    def __init__(self, seed: int) -> None:
        self.plant = Simulation(seed)
        read = bundle.read(BUNDLE, dev=True)
        self._session = open_session(read.model, "model.onnx")
        assert read.card.envelope
        self._familiar, self._labels = Familiarity(read.card.envelope), read.card.labels
        self._rows: list[list[float]] = []

    def run(self, seconds: float, *, breaks: Callable[[NDArray[np.float32]], None] | None = None) -> list[Said]:
        said = []
        for _ in range(round(seconds * 2)):
            for _ in range(SCANS):
                self.plant.plc.write_lease(self.plant.plc.lease + 1)
                self.plant.scan()
            self._rows.append([self._value(name) for name in SIGNALS])
            if len(self._rows) >= ROWS:
                said.append(self._ask(breaks))
        return said

    def _value(self, name: str) -> float:
        if name != "vibration":
            return self.plant.readings[name].value
        block = self.plant.block()
        assert block is not None
        return float(np.sqrt(np.mean(block.astype(np.float64) ** 2)))

    def _ask(self, breaks: Callable[[NDArray[np.float32]], None] | None) -> Said:
        window = np.array(self._rows[-ROWS:], np.float32).T
        if breaks:
            breaks(window)
        found: Any = self._session.run(["probabilities"], {"window": window[None]})[0][0]
        truth = self.plant.truth()
        return Said(truth.t, self._labels[int(found.argmax())], float(1 - found[0]), self._familiar.novelty(window), truth.condition)


@pytest.mark.parametrize("seed", [501, 502, 503])
def test_a_closing_valve_is_named_relieved_and_named_again_until_somebody_opens_it(seed: int) -> None:
    watched = Watched(seed)
    plant = watched.plant
    calm = watched.run(20.0)
    assert {s.label for s in calm} == {"normal"}
    plant.faults.inject("suction_valve", severity=0.7, ramp_s=4.0)
    storm = watched.run(10.0)
    began = next(s.t for s in storm if s.truth == "cavitation")
    assert next(s.t for s in storm if s.label == "cavitation" and s.score > 0.8) - began <= 1.5
    assert storm[-1].label == "cavitation"
    plant.plc.write_trim(-250.0)
    relief = watched.run(15.0)
    assert {s.label for s in relief[-10:]} == {"restriction"}
    plant.faults.clear(2.0)
    mended = watched.run(15.0)
    assert {s.label for s in mended[-8:]} == {"normal"}
    plant.plc.write_trim(0.0)
    assert watched.run(15.0)[-1].label == "normal"
    assert max(s.novelty for s in calm + storm + relief + mended) < 0.999


@pytest.mark.parametrize("fault", ["imbalance", "leak", "cavitation"])
def test_other_faults_are_named_too(fault: str) -> None:
    watched = Watched(511)
    watched.run(9.0)
    watched.plant.faults.inject(fault, severity=0.8, ramp_s=2.0)
    assert {s.label for s in watched.run(15.0)[-8:]} == {fault}


def test_a_lower_speed_alone_is_normal() -> None:
    watched = Watched(521)
    watched.run(9.0)
    watched.plant.plc.write_trim(-300.0)
    assert {s.label for s in watched.run(20.0)} == {"normal"}


@pytest.mark.parametrize(("channel", "value"), [(0, 0.0), (1, -1.0), (3, 0.0), (5, 0.0)])
def test_a_broken_sensor_is_novel_not_a_fault_of_the_pump(channel: int, value: float) -> None:
    watched = Watched(531)
    watched.run(8.0)

    def breaks(window: NDArray[np.float32]) -> None:
        window[channel] = value

    assert all(s.novelty == 1.0 for s in watched.run(2.0, breaks=breaks))


def test_int8_is_as_good_as_fp32() -> None:
    metrics = bundle.read(BUNDLE, dev=True).card.metrics
    assert metrics.int8["accuracy"] >= metrics.fp32["accuracy"] - 0.005
    assert metrics.int8["missed"] == 0
    assert metrics.int8["delay_p95_s"] <= 3.0
