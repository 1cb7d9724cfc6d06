import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from connectors.sim import Config, Connector, Tag
from edge_agent.clock import ManualClock
from edge_agent.contracts import Setup
from edge_agent.messages import Gap, LinkState, Quality, Sample

pytestmark = pytest.mark.anyio


class Ears:
    """A sink that keeps what it hears, and stops the run after so many batches."""

    def __init__(self, batches: int) -> None:
        self.batches, self.all, self.links = batches, list[Sample](), list[LinkState]()
        self.scope = anyio.CancelScope()

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        self.all += batch
        self.batches -= 1
        if self.batches <= 0:
            self.scope.cancel()

    def gap(self, gap: Gap) -> None: ...

    def link(self, state: LinkState) -> None:
        self.links.append(state)

    def alive(self, connector: str, mono_ns: int) -> None: ...


def tag(**keys: Any) -> Tag:
    return Tag.model_validate({"from": "plant", **keys})


def plant(tags: dict[str, Tag], seed: int = 0) -> Connector:
    config = Config.model_validate({"type": "sim", "every": "1 s", "seed": seed})
    return Connector(config, tags, Setup(name="plant", clock=ManualClock(), state=Path("unused"), agent="a"))


async def heard(connector: Connector, seconds: int) -> list[Sample]:
    ears = Ears(seconds)
    with ears.scope:
        await connector.run(ears)
    return ears.all


async def test_the_same_seed_gives_the_same_signals() -> None:
    tags = {"flow": tag(wave="sine", mean=30.0, amplitude=2.0, noise=0.5), "walk": tag(wave="walk")}
    assert await heard(plant(tags), 50) == await heard(plant(tags), 50)
    assert await heard(plant(tags, seed=1), 50) != await heard(plant(tags), 50)


async def test_a_signal_does_not_depend_on_its_neighbours() -> None:
    flow = {"flow": tag(wave="noise")}
    alone = [s.value for s in await heard(plant(flow), 20)]
    together = [s.value for s in await heard(plant({"other": tag(wave="noise"), **flow}), 20) if s.tag == "flow"]
    assert alone == together


async def test_a_sine_has_its_mean_amplitude_and_period() -> None:
    values = [s.value for s in await heard(plant({"s": tag(wave="sine", mean=10.0, amplitude=3.0, period="20 s")}), 20)]
    assert values[5] == pytest.approx(13.0)
    assert values[15] == pytest.approx(7.0)
    assert sum(values) / 20 == pytest.approx(10.0)


@pytest.mark.parametrize(("wave", "expected"), [("square", [1.0, 1.0, -1.0, -1.0]), ("ramp", [-1.0, -0.5, 0.0, 0.5])])
async def test_square_and_ramp(wave: str, expected: list[float]) -> None:
    assert [s.value for s in await heard(plant({"s": tag(wave=wave, period="4 s")}), 4)] == expected


async def test_a_boolean_tag_is_a_truth_value() -> None:
    assert [s.value for s in await heard(plant({"b": tag(wave="square", period="4 s", boolean=True)}), 4)] == [True, True, False, False]


async def test_faults_begin_and_end_when_they_should() -> None:
    faults = [
        {"kind": "stuck", "after": "2 s", "lasts": "2 s"},
        {"kind": "nan", "after": "5 s", "lasts": "1 s"},
        {"kind": "gap", "after": "7 s", "lasts": "1 s"},
        {"kind": "bad", "after": "9 s", "lasts": "1 s"},
    ]
    samples = await heard(plant({"s": tag(wave="ramp", amplitude=10.0, period="20 s", faults=faults)}), 11)
    values = [s.value for s in samples]
    assert values[:5] == [-10.0, -9.0, -9.0, -9.0, -6.0]
    assert (samples[5].value, samples[5].quality) == (None, Quality.NOT_FINITE)
    assert len(samples) == 10
    assert samples[8].quality == Quality.BAD


async def test_a_late_sample_keeps_its_source_time() -> None:
    late = tag(wave="ramp", faults=[{"kind": "late", "after": "1 s", "lasts": "1 s", "by": "3 s"}])
    samples = await heard(plant({"s": late}), 6)
    delayed = next(s for s in samples if s.received_ns - s.source_ns > 1e9)
    assert delayed.received_ns - delayed.source_ns == pytest.approx(3e9)
    assert len(samples) == 6


async def test_a_written_tag_is_held_and_the_process_answers_with_its_lag() -> None:
    tags = {
        "speed": tag(write=True, limits=(-10, 10)),
        "flow": tag(mean=5.0, responds_to={"tag": "speed", "gain": 2.0, "lag": "2 s"}),
    }
    connector = plant(tags)
    assert (await connector.write("speed", 4.0, 1.0)).status == "good"
    assert (await connector.read("speed")).value == 4.0
    flow = [s.value for s in await heard(connector, 30) if s.tag == "flow"]
    assert flow[0] == pytest.approx(5 + 8 * (1 - math.exp(-0.5)))
    assert flow[-1] == pytest.approx(13.0, abs=1e-3)


@pytest.mark.parametrize("value", [11.0, math.nan, math.inf, "fast", True])
async def test_a_value_that_does_not_fit_is_refused(value: Any) -> None:
    connector = plant({"speed": tag(write=True, limits=(-10, 10))})
    assert (await connector.write("speed", value, 1.0)).status == "refused"
    assert (await connector.read("speed")).value == 0.0


async def test_a_tag_that_is_not_writable_refuses() -> None:
    connector = plant({"flow": tag()})
    assert (await connector.write("flow", 1.0, 1.0)).code == "BadNotWritable"
    assert not (await connector.describe("flow")).writable


async def test_describe_gives_the_limits() -> None:
    contract = await plant({"speed": tag(write=True, limits=(-10, 10), unit="rpm")}).describe("speed")
    assert (contract.type, contract.low, contract.high, contract.unit) == ("Double", -10, 10, "rpm")


def test_a_writable_tag_with_a_wave_is_a_configuration_error() -> None:
    with pytest.raises(ValidationError, match="holds what was written"):
        tag(write=True, wave="sine")
