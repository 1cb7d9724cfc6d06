"""A recording of a whole agent is replayed to the byte; with another configuration it says what would have been different."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import os
import random
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from click.testing import CliRunner

from edge_agent.cli import root
from edge_agent.errors import EdgeAgentError
from edge_agent.offline import prepare
from edge_agent.recording import canonical, read
from edge_agent.replay import Replayed

pytestmark = pytest.mark.anyio


async def replayed(rig: Any, recording: Path, *, exact: bool = True) -> tuple[list[Replayed], int]:
    frames = read(recording)
    replay, close = await prepare(rig.configuration(), next(frames)[1], exact=exact)
    turns = [turn async for turn in replay.run(frames)]
    await close()
    return turns, replay.missing


def noisy(rig: Any) -> None:
    """Noise, drifts, a sensor that fails now and then, late and stuck values; two loops that ask for ages and blame."""
    tags = rig.said["tags"]
    tags["flow"] |= {"noise": 0.5, "range": [-50, 60], "faults": [{"kind": "nan", "after": "1 s", "lasts": "60 ms"}]}
    tags["level"] |= {"noise": 0.2, "max_age": "100 ms", "faults": [{"kind": "late", "after": "1.1 s", "lasts": "100 ms", "by": "50 ms"}]}
    tags["speed"] = {"from": "plant", "wave": "sine", "mean": 10, "amplitude": 8, "period": "700 ms", "max_flat": "50 ms"}
    rig.add_loop("p2", perceive={"tags": ["speed", "level"], "every": "20 ms", "window": 4, "hop": 2, "fill": "linear"})
    rig.said["loops"]["p2"]["decide"] = {
        "policy": "rules",
        "states": {
            "normal": [{"when": "score > 0.8 and age(level) < 0.5", "for": "60 ms", "go": "high"}],
            "high": [{"when": "score < 0.2 or contribution(speed) > 0.99", "go": "normal"}],
        },
    }
    for loop in rig.said["loops"].values():
        loop["diagnose"]["timeout"] = "200 ms"


async def live(rig: Any, recording: Path) -> None:
    """A short life: armed, written, let go, its model's process stopped for a while."""
    async with rig.running(record=recording, worker=True) as run:
        await run.armed()
        await run.set("fault", 8.0)
        await run.until(lambda: run["p1"].executor.applied["trim"] == -20.0, "the trim is confirmed")
        await run.set("fault", 0.0)
        await run.turns("p1", 10)
        await run.set("fault", 100.0)
        await run.until(lambda: run["p1"].runner.counts.last.diagnosis.status == "unknown", "it is outside its range")
        await run.set("fault", 0.0)
        await run.turns("p1", 10)
        os.kill(run.agent.runtime.status()["pid"], signal.SIGSTOP)
        await run.until(lambda: run["p1"].runner.counts.last.diagnosis.status == "late", "it is late")
        await run.until(lambda: run["p1"].runner.counts.last.diagnosis.status == "ok", "it is well again")
        await run.until(lambda: run["p1"].runner.counts.turns > 60, "more turns")


@pytest.fixture(scope="session")
def past(new_rig: Any) -> Any:
    """A rig with a recording of its life, r.rec; nobody may change it."""
    rig = new_rig()
    noisy(rig)
    asyncio.run(live(rig, rig.folder / "r.rec"))
    return rig


@pytest.fixture
def lived(past: Any) -> Any:
    """The same, whose configuration may be changed."""
    return dataclasses.replace(past, said=copy.deepcopy(past.said))


async def test_a_recording_is_replayed_to_the_byte_as_often_as_one_likes(lived: Any) -> None:
    first, missing = await replayed(lived, lived.folder / "r.rec")
    second, _ = await replayed(lived, lived.folder / "r.rec")
    assert (missing, len(first) > 80) == (0, True)
    assert {turn.decision.loop for turn in first} == {"p1", "p2"}
    assert not [turn for turn in first if not turn.same]
    assert [canonical(t.decision) for t in first] == [canonical(t.decision) for t in second]
    assert {t.diagnosis.status for t in first} >= {"ok", "unknown", "late"}
    assert {t.decision.state for t in first if t.decision.loop == "p1"} == {"normal", "relief"}


async def test_a_baseline_learnt_before_or_during_the_recording_is_the_same_in_its_replay(rig: Any) -> None:
    rig.bundle("tiny", baseline={"rows": 6, "floor": [1.0, 1.0]})
    for name in ("before.rec", "after.rec"):
        async with rig.running(record=rig.folder / name) as run:
            await run.until(lambda: run["p1"].diagnoser.baseline() is not None, "learnt")
            await run.turns("p1", 5)
            await run.ops.relearn({"loop": "p1", "by": "ann"})
            await run.turns("p1", 12)
        turns, missing = await replayed(rig, rig.folder / name)
        assert (missing, [t for t in turns if not t.same], len(turns) > 15) == (0, [], True)


async def test_what_if_lists_what_another_threshold_would_have_decided(lived: Any) -> None:
    same, missing = await replayed(lived, lived.folder / "r.rec", exact=False)
    assert (missing, [t for t in same if t.recorded is not None and not t.agrees]) == (0, [])
    lived.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "score > 0.99 and score < 0.5"
    turns, _ = await replayed(lived, lived.folder / "r.rec", exact=False)
    other = [t for t in turns if t.recorded is not None and not t.agrees]
    assert {(t.decision.loop, t.decision.state) for t in other} == {("p1", "normal")}
    assert any(b'"state":"relief"' in (t.recorded or b"") for t in other)


async def test_what_if_takes_another_window_and_a_new_loop(lived: Any) -> None:
    lived.add_loop("new")
    lived.said["loops"]["p1"]["perceive"]["hop"] = 2
    turns, missing = await replayed(lived, lived.folder / "r.rec", exact=False)
    assert {t.decision.loop for t in turns} == {"p1", "p2", "new"}
    assert missing > 10  # turns that fell between two windows
    assert any(t.recorded for t in turns)


def test_the_commands_say_it_too(lived: Any) -> None:
    ask = CliRunner()
    exact = ask.invoke(root, ["replay", str(lived.folder / "r.rec"), str(lived.write())])
    assert (exact.exit_code, ", 0 different, 0 missing" in exact.output) == (0, True), exact.output
    lived.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "score > 2"
    other = ask.invoke(root, ["replay", str(lived.folder / "r.rec"), str(lived.write()), "--what-if"])
    assert (other.exit_code, " 0 different" not in other.output, "is not the recorded one" in other.output) == (0, True, True)


def test_loops_that_are_replayed_in_processes_of_their_own_decide_the_same(lived: Any) -> None:
    lived.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "score > 2"
    words = ["replay", str(lived.folder / "r.rec"), str(lived.write()), "--what-if", "--json", "--jobs"]
    one, two = (msgspec.json.decode(CliRunner().invoke(root, [*words, jobs]).output) for jobs in ("1", "2"))
    of_loop = lambda found, loop: [d for d in found["differences"] if d["loop"] == loop]  # noqa: E731
    assert {**one, "differences": 0} == {**two, "differences": 0}
    assert of_loop(one, "p1") == of_loop(two, "p1") != []


async def test_a_recording_that_was_cut_off_anywhere_is_replayed_up_to_there(lived: Any, tmp_path: Path) -> None:
    whole = flushed(lived.folder / "r.rec")
    places, counts = random.Random(7), []
    for at in sorted({len(whole) - 1, *(places.randrange(1, len(whole)) for _ in range(10))}):
        (tmp_path / "cut.rec").write_bytes(whole[:at])
        try:
            turns, missing = await replayed(lived, tmp_path / "cut.rec")
        except EdgeAgentError as e:
            assert "not a recording" in str(e)  # not even the head is there
            turns, missing = [], 0
        assert (missing, [t for t in turns if not t.same]) == (0, [])
        counts.append(len(turns))
    assert counts == sorted(counts)
    assert counts[-1] > 60


def flushed(recording: Path) -> bytes:
    """The same frames, put on disk a few at a time, as in a long life."""
    stream, parts = zstandard.ZstdCompressor().compressobj(), []
    for i, frame in enumerate(read(recording)):
        data = msgspec.msgpack.encode(frame)
        parts.append(stream.compress(len(data).to_bytes(4, "little") + data))
        if i % 16 == 0:
            parts.append(stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return b"".join([*parts, stream.flush()])


async def test_a_recording_ends_where_the_configuration_changes(rig: Any) -> None:
    async with rig.running(record=rig.folder / "r.rec") as run:
        await run.turns("p1", 5)
        old = rig.file.read_text()
        rig.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "score > 0.5"
        await run.agent.apply(rig.configuration())
        assert "the recording ends here" in run.agent.page()["recording"]["failed"]
        await run.turns("p1", 5)
    rig.said["loops"]["p1"]["decide"]["states"]["normal"][0]["when"] = "score > 0.8"
    assert rig.write().read_text() == old
    turns, missing = await replayed(rig, rig.folder / "r.rec")
    assert (missing, [t for t in turns if not t.same]) == (0, [])


async def test_a_recording_is_never_written_over_another_file(rig: Any) -> None:
    (rig.folder / "r.rec").write_text("mine")
    with pytest.raises(EdgeAgentError, match="name a new file"):
        async with rig.running(record=rig.folder / "r.rec"):
            pass
    assert (rig.folder / "r.rec").read_text() == "mine"
