"""A write does what was asked, or says exactly what is known about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.errors import PlantError

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
Make = Callable[..., Any]

_TAGS = {
    "trim": "P1.SpeedTrim",
    "count": "Count16",
    "enable": "Enable",
    "level": "Level",
    "recipe": "Recipe",
    "fixed": "ReadOnly",
    "clamped": "ClampedSetpoint",
    "aloud": "ClampedAloud",
    "stuck": "StuckSetpoint",
    "slow": "SlowSetpoint",
    "spectrum": "Spectrum",
    "start": {"method": "StartPump"},
    "refuse": {"method": "Refuse"},
}


@pytest.mark.parametrize(
    ("tag", "value", "logged"),
    [
        ("trim", -200, (-200, "Double")),
        ("count", 7.0, (7, "Int16")),
        ("enable", True, (True, "Boolean")),
        ("level", 2.5, (2.5, "Float")),
        ("recipe", "B-7", ("B-7", "String")),
    ],
)
async def test_a_write_has_the_nodes_exact_type_and_no_time_stamps(
    shared_plant: Any, opcua_session: Make, tag: str, value: Any, logged: Any
) -> None:
    async with opcua_session(shared_plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        reply = await session.connector.write(tag, value, 3)
        reading = await session.connector.read(tag)
    assert (reply.status, reply.code) == ("good", "Good")
    assert (reading.value, reading.quality, reading.age_s) == (value, 0, 0.0)
    (line,) = shared_plant.writes()
    assert (line["value"], line["type"]) == logged
    assert line["stamped"] is False


async def test_what_does_not_fit_is_never_sent(shared_plant: Any, opcua_session: Make) -> None:
    misfits = [
        ("count", 40000),
        ("count", 1.5),
        ("count", True),
        ("enable", 1),
        ("trim", float("nan")),
        ("trim", "5"),
        ("level", 1e39),
        ("recipe", 5),
        ("spectrum", 1.0),
        ("start", 1.0),
    ]
    async with opcua_session(shared_plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        replies = [await session.connector.write(tag, value, 3) for tag, value in misfits]
    assert {r.status for r in replies} == {"refused"}
    assert shared_plant.writes() == []
    assert "32767" in replies[0].code


async def test_the_server_s_no_is_a_refusal_with_its_own_word(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        outside = await session.connector.write("trim", 301, 3)
        fixed = await session.connector.write("fixed", 1.0, 3)
    assert (outside.status, outside.code) == ("refused", "BadOutOfRange")
    assert fixed.status == "refused"
    assert fixed.code in ("BadNotWritable", "BadUserAccessDenied")


async def test_good_is_no_proof_and_other_goods_are_unknown(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        silent = await session.connector.write("clamped", 5000, 3)
        assert silent.status == "good"
        assert (await session.connector.read("clamped")).value == 1000
        aloud = await session.connector.write("aloud", 5000, 3)
        assert (aloud.status, aloud.code) == ("unknown", "GoodClamped")
        assert (await session.connector.write("stuck", 1, 3)).status == "good"
        assert (await session.connector.read("stuck")).value == 42


async def test_a_write_that_is_not_answered_in_time_is_unknown_and_may_still_happen(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, _TAGS) as session:
        seen = session.seen
        await seen.until(lambda: "up" in seen.states())
        reply = await session.connector.write("slow", 9, 0.5)
        assert reply.status == "unknown"
        assert "timed out" in reply.code
        await seen.until(lambda: seen.of("slow") and seen.of("slow")[-1].value == 9)
        assert (await session.connector.write("trim", 5, 3)).status == "good"
        assert seen.states() == ["connecting", "up"]


async def test_the_contract_is_what_the_server_says(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        trim = await session.connector.describe("trim")
        fixed = await session.connector.describe("fixed")
        count = await session.connector.describe("count")
    assert (trim.type, trim.writable, trim.unit, trim.low, trim.high) == ("Double", True, "rpm", -300.0, 300.0)
    assert (fixed.type, fixed.writable, fixed.unit) == ("Double", False, None)
    assert (count.type, count.writable) == ("Int16", True)


async def test_a_method_is_called_with_exact_argument_types(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        good = await session.connector.call("start", [1200, 3], 3)
        outside = await session.connector.call("start", [9999, 3], 3)
        refused = await session.connector.call("refuse", [], 3)
        misfits = [await session.connector.call("start", a, 3) for a in ([1200], [1200, 1.5], ["x", 1])]
    assert good.status == "good"
    assert (outside.status, outside.code) == ("refused", "BadOutOfRange")
    assert (refused.status, refused.code) == ("refused", "BadUserAccessDenied")
    assert {r.status for r in misfits} == {"refused"}
    assert "speed (Double), tries (Int16)" in misfits[0].code
    calls = [line for line in shared_plant.log if "call" in line]
    assert [c["call"] for c in calls] == ["StartPump", "StartPump", "Refuse"]
    assert calls[0]["arguments"] == [1200, 3]
    assert calls[0]["types"] == ["Double", "Int16"]


async def test_nothing_is_written_while_the_link_is_down_nor_later(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant().start()
    async with opcua_session(plant.url, _TAGS) as session:
        connector, seen = session.connector, session.seen
        assert (await connector.write("trim", 1, 1)).status == "refused"  # not yet connected
        await seen.until(lambda: "up" in seen.states())
        plant.kill()
        await seen.until(lambda: "down" in seen.states())
        reply = await connector.write("trim", 2, 1)
        assert reply.status == "refused"
        assert "link down" in reply.code
        with pytest.raises(PlantError, match="link down"):
            await connector.read("trim")
        plant.start()
        await seen.until(lambda: seen.states()[-1] == "up", 20)
        assert (await connector.read("trim")).value == 0
    assert plant.writes() == []


async def test_a_write_under_way_when_the_plant_dies_is_unknown(node_plant: Make, opcua_session: Make) -> None:
    plant = node_plant(slow=20_000).start()
    async with opcua_session(plant.url, _TAGS) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(session.connector.write("slow", 9, 10))
            await asyncio.to_thread(plant.wait, lambda log: any("write" in line for line in log))
            plant.kill()
    assert writing.result().status == "unknown"


async def test_a_method_says_whether_it_may_be_called(shared_plant: Any, opcua_session: Make) -> None:
    async with opcua_session(shared_plant.url, {"start": {"method": "StartPump"}}) as session:
        await session.seen.until(lambda: "up" in session.seen.states())
        contract = await session.connector.describe("start")
    assert (contract.type, contract.writable) == ("method", True)
