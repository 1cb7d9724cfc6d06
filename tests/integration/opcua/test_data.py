"""What a node-opcua server publishes arrives with its own times and qualities."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edge_agent.messages import Quality

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
Make = Callable[..., Any]


async def test_every_count_arrives_once_in_order_with_the_servers_time(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, {"counter": "Counter"}, sampling="0 s") as session:
        await session.seen.until(lambda: len(session.seen.of("counter")) > 40)
    samples = session.seen.of("counter")
    assert all(b.value == a.value + 1 for a, b in pairwise(samples))
    assert all(0 < s.received_ns - s.source_ns < 2e9 for s in samples[1:])
    assert session.seen.gaps == []
    assert time.time_ns() - samples[-1].source_ns < 10e9


async def test_status_codes_become_qualities_and_are_counted_by_name(shared_plant: Any, opcua_session: Make) -> None:
    tags = {"temperature": "Temperature", "quality": {"method": "SetQuality"}}
    async with opcua_session(shared_plant.url, tags) as session:
        seen, connector = session.seen, session.connector
        await seen.until(lambda: seen.of("temperature"))
        for name, quality in (("BadSensorFailure", Quality.BAD), ("UncertainLastUsableValue", Quality.UNCERTAIN), ("Good", Quality.GOOD)):
            assert (await connector.call("quality", [name], 3)).status == "good"
            await seen.until(lambda quality=quality: seen.of("temperature")[-1].quality == quality)
        codes = session.status()["codes"]
    assert codes["BadSensorFailure"] >= 1
    assert codes["UncertainLastUsableValue"] >= 1


async def test_arrays_texts_and_truth_values_keep_their_kind(shared_plant: Any, opcua_session: Make) -> None:
    tags = {"spectrum": "Spectrum", "line5": {"node": "Spectrum", "index": 5}, "recipe": "Recipe", "enable": "Enable", "level": "Level"}
    async with opcua_session(shared_plant.url, tags) as session:
        await session.seen.until(lambda: {s.tag for s in session.seen.all} == set(tags))
    last = {s.tag: s.value for s in session.seen.all}
    assert isinstance(last["spectrum"], np.ndarray)
    assert last["spectrum"].dtype == np.float32
    assert last["spectrum"].tolist() == [i / 2 for i in range(16)]
    assert (last["line5"], last["recipe"], last["enable"], last["level"]) == (2.5, "A-100", False, 1.5)


async def test_a_dead_band_keeps_small_changes_at_the_server(shared_plant: Any, opcua_session: Make) -> None:
    tags = {
        "all": "Temperature",
        "coarse": {"node": "Temperature", "dead_band": 2.0},
        "share": {"node": "Temperature", "dead_band": "1%"},  # of 0..200: 2
        "counter": "Counter",
    }
    async with opcua_session(shared_plant.url, tags) as session:
        await session.seen.until(lambda: len(session.seen.of("counter")) > 60)
        status = session.status()
    for tag in ("coarse", "share"):
        values = [s.value for s in session.seen.of(tag)]
        assert len(values) < len(session.seen.of("all")) / 4
        assert all(abs(b - a) > 1.99 for a, b in pairwise(values)), (tag, status["tags"])


async def test_a_dead_band_that_the_server_refuses_is_dropped_and_said(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, {"still": {"node": "Still", "dead_band": "1%"}}) as session:  # no EURange
        await session.seen.until(lambda: session.seen.of("still"))
        status = session.status()
    assert "refuses the dead band" in status["tags"]["still"]


async def test_bad_nodes_do_not_hold_up_good_ones_and_are_named(shared_plant: Any, opcua_session: Make) -> None:
    tags = {"counter": "Counter", "gone": "Nope", "elsewhere": {"node": "nsu=urn:other;s=X"}}
    async with opcua_session(shared_plant.url, tags) as session:
        seen = session.seen
        await seen.until(lambda: len(seen.of("counter")) > 3 and seen.of("gone"))
        status = session.status()
    assert status["items"] == {"good": 1, "refused": 2}
    assert status["tags"]["gone"] == "nsu=urn:plant;s=Nope: BadNodeIdUnknown"
    assert "urn:other" in status["tags"]["elsewhere"]
    assert {s.quality for s in seen.of("gone")} == {Quality.BAD}


async def test_a_node_that_appears_later_is_watched_from_then_on(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant(late=4).start()
    async with opcua_session(plant.url, {"late": "Late"}) as session:
        await session.seen.until(lambda: any(s.quality == Quality.GOOD for s in session.seen.of("late")), 20)


async def test_a_server_with_small_limits_is_asked_in_small_batches(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant(max_items=3).start()
    tags = {
        f"t{i}": node for i, node in enumerate(["Counter", "Temperature", "Still", "Recipe", "Enable", "Level", "Count16", "P1.Running"])
    }
    async with opcua_session(plant.url, tags) as session:
        await session.seen.until(lambda: {s.tag for s in session.seen.all} == set(tags))
        status = session.status()
    assert status["server"] == {"running": True, "per_read": 3, "per_monitor": 3}
    assert status["items"] == {"good": 8}


async def test_a_still_plant_is_alive(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, {"still": "Still"}) as session:
        await session.seen.until(lambda: session.seen.alives > 5)
        assert len(session.seen.of("still")) == 1
        assert session.seen.states() == ["connecting", "up"]


async def test_a_namespace_by_index_works_and_is_warned_of(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(
        shared_plant.url, {"a": {"node": "ns=2;s=Still"}, "b": {"node": "ns=3;s=Still"}, "state": {"node": "i=2259"}}
    ) as session:
        await session.seen.until(lambda: session.seen.of("state"))
        status = session.status()
    assert "a, b" in status["warnings"][0]
    assert "state" not in status["warnings"][0]


async def test_a_replayed_table_arrives_row_by_row_with_times_mapped_to_now(node_plant: Make, opcua_session: Make, tmp_path: Any) -> None:
    table = tmp_path / "t.csv"
    rows = [f"2020-01-01 00:00:{i:02d};{i * 1.5};{'' if i == 7 else i};{'BadSensorFailure' if i == 5 else 'Good'}" for i in range(30)]
    table.write_text("\n".join(["datetime;Flow RMS;B;q", *rows]))
    columns = '{"Flow RMS": {"node": "P1.Flow", "unit": "l/min", "range": [0, 60]}, "B": "P1.B"}'
    plant = node_plant(csv=table, columns=columns, quality="q", rate=20, start="method").start()
    tags = {"flow": {"node": "P1.Flow"}, "b": "P1.B", "done": "Replay.Done", "go": {"method": "Replay.Start"}}
    async with opcua_session(plant.url, tags, sampling="0 s") as session:
        seen = session.seen
        await seen.until(lambda: seen.of("done"))
        assert (await session.connector.call("go", [], 3)).status == "good"
        await seen.until(lambda: seen.of("done")[-1].value is True)
        contract = await session.connector.describe("flow")
    good = [s for s in seen.of("flow") if s.quality == Quality.GOOD]
    assert [s.value for s in good] == [i * 1.5 for i in range(30) if i != 5]
    steps = [(b.source_ns - a.source_ns) / 1e6 for a, b in pairwise([s for s in seen.of("flow") if s.quality == Quality.GOOD])]
    assert all(abs(step - (100 if i == 4 else 50)) < 2 for i, step in enumerate(steps))  # row 5 is Bad
    assert sum(s.quality == Quality.BAD for s in seen.of("b")) == 3  # before the start, row 5, and the empty cell
    assert (contract.unit, contract.low, contract.high, contract.writable) == ("l/min", 0.0, 60.0, False)


async def test_a_tag_whose_unit_is_not_the_servers_is_refused_with_the_cure_and_the_others_go_on(
    shared_plant: Any, opcua_session: Make
) -> None:
    tags = {
        "right": {"node": "Temperature", "unit": "degC"},
        "converted": {"node": "Temperature", "unit": "degF", "source_unit": "degC"},
        "wrong": {"node": "Temperature", "unit": "degF"},
        "unstated": {"node": "Counter", "unit": "bar"},
    }
    async with opcua_session(shared_plant.url, tags) as session:
        await session.seen.until(lambda: {s.tag for s in session.seen.all} == set(tags))
        trouble = session.status()["tags"]
    assert set(trouble) == {"wrong"}
    assert "configured degF, the server states °C" in trouble["wrong"] or "states degC" in trouble["wrong"]
    assert "source_unit" in trouble["wrong"]
    assert all(sample.value is None and sample.quality & Quality.BAD for sample in session.seen.of("wrong"))
    assert all(sample.quality == Quality.GOOD for sample in session.seen.of("right"))
