import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from pydantic import ValidationError

from connectors.replay import Config, Connector, Tag
from edge_agent.clock import ManualClock
from edge_agent.contracts import Setup
from edge_agent.messages import Gap, LinkState, Quality, Sample
from edge_agent.recording import Recorder, samples_frame

pytestmark = pytest.mark.anyio

SKAB = """datetime;Current;Volume Flow RateRMS;anomaly
2020-03-09 10:14:33;1.3302;32.0;0.0
2020-03-09 10:14:34;1.35399;;0.0
2020-03-09 10:14:36;nan;x;1.0
"""
T0 = 1_583_748_873_000_000_000
S = 1_000_000_000


class Ears:
    """A sink that keeps what it hears and when, and stops the run when it has enough or when the file has ended."""

    def __init__(self, clock: ManualClock, enough: int = 1000, *, commits: bool = True) -> None:
        self.clock, self.enough, self.commits = clock, enough, commits
        self.all, self.at, self.links = list[Sample](), list[int](), list[LinkState]()
        self.scope = anyio.CancelScope()

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        self.all += batch
        self.at += [self.clock.mono_ns()] * len(batch)
        if committed and self.commits:
            committed()
        if len(self.all) >= self.enough:
            self.scope.cancel()

    def gap(self, gap: Gap) -> None: ...

    def link(self, state: LinkState) -> None:
        self.links.append(state)
        if state.state == "down":
            self.scope.cancel()

    def alive(self, connector: str, mono_ns: int) -> None: ...


TAGS = {
    "current": Tag.model_validate({"from": "past", "column": "Current"}),
    "flow": Tag.model_validate({"from": "past", "column": "Volume Flow RateRMS"}),
    "fault": Tag.model_validate({"from": "past", "column": "anomaly", "type": "bool"}),
}


def config(**keys: Any) -> Config:
    return Config.model_validate({"type": "replay", "file": "skab.csv", "separator": ";", "time_column": "datetime", **keys})


async def play(
    tmp_path: Path, text: str | None = SKAB, tags: dict[str, Tag] = TAGS, enough: int = 1000, **keys: Any
) -> tuple[Ears, Connector]:
    if text is not None:
        (tmp_path / "skab.csv").write_text(text)
    clock = ManualClock()
    connector = Connector(config(**keys), tags, Setup(name="past", clock=clock, state=tmp_path, agent="a", home=tmp_path))
    ears = Ears(clock, enough)
    with ears.scope:
        await connector.run(ears)
    return ears, connector


def of(samples: list[Sample], tag: str) -> list[tuple[Any, int, int]]:
    return [(s.value, s.quality, (s.source_ns - T0) // S) for s in samples if s.tag == tag]


async def test_rows_come_with_their_own_times_and_qualities(tmp_path: Path) -> None:
    ears, _ = await play(tmp_path)
    assert of(ears.all, "current") == [(1.3302, 0, 0), (1.35399, 0, 1), (None, Quality.NOT_FINITE, 3)]
    assert of(ears.all, "flow") == [(32.0, 0, 0), (None, Quality.TYPE, 3)]
    assert of(ears.all, "fault") == [(False, 0, 0), (False, 0, 1), (True, 0, 3)]


@pytest.mark.parametrize(("speed", "took_s"), [(1.0, 3.0), (10.0, 0.3)])
async def test_the_pace_is_the_files_times_speed(tmp_path: Path, speed: float, took_s: float) -> None:
    ears, _ = await play(tmp_path, speed=speed)
    assert (ears.at[-1] - ears.at[0]) / S == pytest.approx(took_s, abs=1e-3)


async def test_now_means_that_source_times_lie_in_the_present(tmp_path: Path) -> None:
    ears, _ = await play(tmp_path, time="now")
    assert all(abs(s.source_ns - s.received_ns) < S // 100 for s in ears.all)


async def test_at_speed_max_the_sink_sets_the_pace(tmp_path: Path) -> None:
    rows = "".join(f"{T0 + i * S};{i};1;0\n" for i in range(1000))
    text = "datetime;Current;Volume Flow RateRMS;anomaly\n" + rows
    ears, connector = await play(tmp_path, text, enough=9999, speed="max", time_format="ns")
    assert [s.value for s in ears.all if s.tag == "current"] == list(range(1000))
    assert connector.status()["rows"] == 1000


async def test_a_loop_never_goes_back_in_time(tmp_path: Path) -> None:
    ears, _ = await play(tmp_path, loop=True, enough=40)
    times = [s.source_ns for s in ears.all if s.tag == "fault"]
    assert times == sorted(set(times))
    assert times[3] - times[2] == 2 * S
    assert (ears.at[-1] - ears.at[0]) / S > 10


async def test_a_long_hole_is_not_waited_for(tmp_path: Path) -> None:
    text = SKAB + "2021-03-09 10:14:37;1;1;1\n2021-03-09 10:14:38;1;1;1\n"
    ears, _ = await play(tmp_path, text, max_pause="5 s")
    assert (ears.at[-1] - ears.at[0]) / S == pytest.approx(9.0, abs=0.01)


async def test_a_missing_column_stops_only_its_tag(tmp_path: Path) -> None:
    tags = {**TAGS, "level": Tag.model_validate({"from": "past", "column": "Level"})}
    ears, connector = await play(tmp_path, tags=tags)
    assert len(of(ears.all, "current")) == 3
    assert "there are: datetime, Current" in connector.status()["missing"]["level"]


@pytest.mark.parametrize("text", ["", "time;Current\n1;2\n"])
async def test_a_file_without_the_time_column_is_reported_and_tried_again(tmp_path: Path, text: str) -> None:
    ears, connector = await play(tmp_path, text)
    assert [link.state for link in ears.links] == ["down"]
    assert "has no column 'datetime'" in connector.status()["reason"]


async def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    clock = ManualClock()
    connector = Connector(config(file="gone.csv"), TAGS, Setup(name="past", clock=clock, state=tmp_path, agent="a", home=tmp_path))
    ears = Ears(clock)
    with ears.scope:
        await connector.run(ears)
    assert "gone.csv" in ears.links[0].reason


async def test_broken_rows_are_counted(tmp_path: Path) -> None:
    ears, connector = await play(tmp_path, SKAB + "not a time;1;1;1\n\n2020-03-09 10:14:37;5\n")
    assert connector.status()["bad_times"] == 2
    assert of(ears.all, "current")[-1] == (5.0, 0, 4)


def test_now_at_speed_max_is_a_configuration_error() -> None:
    with pytest.raises(ValidationError, match="no time to be now"):
        config(speed="max", time="now")


RECORDED = {"flow": Tag.model_validate({"from": "past", "column": "f"}), "also": Tag.model_validate({"from": "past", "column": "f"})}


def record(path: Path) -> None:
    """Half a second apart; the second batch brings a value that is two seconds old, and a waveform."""
    recorder = Recorder(path, {"agent": "a", "wall_ns": T0, "mono_ns": 5 * S})
    recorder.put(samples_frame([Sample("f", 1.0, 0, T0, T0, 5 * S)]))
    recorder.put(["tick", 5 * S + S // 4])
    late = [Sample("f", 2.0, int(Quality.UNCERTAIN), T0 - 2 * S, T0 + S // 2, 5 * S + S // 2)]
    recorder.put(samples_frame([*late, Sample("wave", np.ones(4, np.float32), 0, T0, T0, 5 * S + S // 2)]))
    recorder.close()


async def test_a_recording_is_played_with_its_delays_qualities_and_source_times(tmp_path: Path) -> None:
    record(tmp_path / "past.rec")
    ears, connector = await play(tmp_path, None, {"flow": RECORDED["flow"]}, file="past.rec")
    assert [(s.value, s.quality, s.source_ns - T0) for s in ears.all] == [(1.0, 0, 0), (2.0, int(Quality.UNCERTAIN), -2 * S)]
    assert (ears.at[1] - ears.at[0]) / S == pytest.approx(0.5)
    assert connector.status()["missing"] == {}


async def test_a_recording_played_as_now_keeps_what_was_late_late(tmp_path: Path) -> None:
    record(tmp_path / "past.rec")
    ears, _ = await play(tmp_path, None, RECORDED, file="past.rec", time="now", speed=2.0)
    assert [s.tag for s in ears.all] == ["flow", "also", "flow", "also"]
    assert ears.all[2].source_ns - ears.all[0].source_ns == pytest.approx(S // 4 - 2 * S - S // 2)


async def test_a_recording_that_was_cut_off_is_played_up_to_there(tmp_path: Path) -> None:
    recorder, noise = Recorder(tmp_path / "whole.rec", {"agent": "a", "wall_ns": T0, "mono_ns": 0}), random.Random(1)
    for i in range(8000):
        recorder.put(samples_frame([Sample("f", noise.random(), 0, T0 + i, T0 + i, i)]))
    recorder.close()
    whole = (tmp_path / "whole.rec").read_bytes()
    (tmp_path / "past.rec").write_bytes(whole[: len(whole) * 2 // 3])
    ears, connector = await play(tmp_path, None, {"flow": RECORDED["flow"]}, 10_000, file="past.rec", speed="max")
    assert 1000 < len(ears.all) < 8000
    assert [s.source_ns - T0 for s in ears.all] == list(range(len(ears.all)))
    assert "played to the end" in connector.status()["reason"]


async def test_a_tag_that_was_not_recorded_is_named(tmp_path: Path) -> None:
    record(tmp_path / "past.rec")
    tags = {"speed": Tag.model_validate({"from": "past", "column": "rpm"})}
    _, connector = await play(tmp_path, None, tags, file="past.rec", speed="max")
    assert connector.status()["missing"] == {"speed": "no recorded tag 'rpm'; there are: f, wave"}


async def test_what_only_looks_like_a_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "past.rec").write_bytes(b"\x28\xb5\x2f\xfdnonsense")
    ears, _ = await play(tmp_path, None, RECORDED, file="past.rec")
    assert "not a recording" in ears.links[-1].reason
