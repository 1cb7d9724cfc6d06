"""What is refused before anything is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua

from edge_agent.clock import ManualClock
from edge_agent.errors import PlantError
from edge_agent.opcua.options import Security, Wanted
from edge_agent.opcua.server import Server
from edge_agent.opcua.writes import Writer

pytestmark = pytest.mark.anyio
_SERVER = Server(namespaces=("ua", "urn:server", "urn:plant"), started_ns=0, running=True, per_read=100, per_translate=100, per_monitor=100)


class Device:
    """A channel to a node of type Double that answers writes as told."""

    def __init__(self, verdict: Any) -> None:
        self.verdict, self.is_open, self.written = verdict, True, []  # type: ignore[var-annotated]
        self.reached = asyncio.Event()

    async def read(self, nodes: Any, batch: int = 100, index: str | None = None) -> list[Any]:
        by_attribute = {14: ua.NodeId(11), 15: -1, 17: 3, 18: 3, 13: 1.0}
        return [ua.DataValue(ua.Variant(by_attribute[a])) for _, a in nodes]

    async def ask(self, request: Any, answer: Any, timeout_s: float | None = None) -> Any:
        if isinstance(request, ua.TranslateBrowsePathsToNodeIdsRequest):
            bad = ua.BrowsePathResult(StatusCode=ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNoMatch)))
            return ua.TranslateBrowsePathsToNodeIdsResponse(Results=[bad, bad])
        self.written.append(request.Parameters.NodesToWrite[0].Value)
        self.reached.set()
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        if isinstance(self.verdict, asyncio.Event):
            await self.verdict.wait()
            return ua.WriteResponse(Results=[ua.StatusCode()])
        return ua.WriteResponse(Results=[ua.StatusCode(ua.UInt32(self.verdict))])


def writer(device: Device | None, url: str = "opc.tcp://127.0.0.1:4840", security: Security | None = None) -> Writer:
    options = SimpleNamespace(connector="plc", url=url, security=security or Security())
    link: Any = SimpleNamespace(options=options, channel=device, server=_SERVER, clock=ManualClock(), counts=Counter[str]())
    wanted = Wanted(tag="trim", node="nsu=urn:plant;s=Trim", sampling_s=0.1)
    return Writer(link, [wanted, replace(wanted, tag="gone", node="nsu=urn:gone;s=Trim")])


async def test_over_policy_none_only_a_server_on_this_machine_is_written_to() -> None:
    far = Device(0)
    reply = await writer(far, "opc.tcp://10.0.0.5:4840").write("trim", 1.0, 1)
    assert (reply.status, far.written) == ("refused", [])
    assert "policy None" in reply.code
    for allowed in (
        writer(Device(0)),
        writer(Device(0), "opc.tcp://10.0.0.5:4840", Security(unsecured_writes=True)),
        writer(Device(0), "opc.tcp://10.0.0.5:4840", Security(policy="Basic256Sha256", mode="SignAndEncrypt")),
    ):
        assert (await allowed.write("trim", 1.0, 1)).status == "good"


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (0, "good"),
        (ua.StatusCodes.GoodClamped, "unknown"),
        (ua.StatusCodes.GoodCompletesAsynchronously, "unknown"),
        (ua.StatusCodes.UncertainInitialValue, "unknown"),
        (ua.StatusCodes.BadOutOfRange, "refused"),
        (ua.StatusCodes.BadTimeout, "unknown"),
        (ua.StatusCodes.BadCommunicationError, "unknown"),
        (ua.uaerrors.BadUserAccessDenied(), "refused"),
        (ua.uaerrors.BadTimeout(), "unknown"),
        (TimeoutError(), "unknown"),
        (ConnectionError("Connection is closed"), "unknown"),
    ],
)
async def test_only_a_plain_good_is_good_and_only_a_plain_no_is_refused(verdict: Any, status: str) -> None:
    assert (await writer(Device(verdict)).write("trim", 1.0, 1)).status == status


async def test_the_value_goes_out_alone() -> None:
    device = Device(0)
    await writer(device).write("trim", 5, 1)
    (value,) = device.written
    assert (value.Value.Value, value.Value.VariantType, value.StatusCode, value.SourceTimestamp, value.ServerTimestamp) == (
        5.0,
        ua.VariantType.Double,
        None,
        None,
        None,
    )


async def test_a_second_write_waits_for_the_first_and_is_refused_when_it_waited_too_long() -> None:
    device = Device(asyncio.Event())
    one = writer(device)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(one.write("trim", 1.0, 5))
        await device.reached.wait()
        second = await one.write("trim", 2.0, 0.01)
        device.verdict.set()
    assert (first.result().status, second.status) == ("good", "refused")
    assert [v.Value.Value for v in device.written] == [1.0]


async def test_a_write_that_waited_through_a_lost_link_is_not_sent_on_the_next() -> None:
    device = Device(asyncio.Event())
    one = writer(device)
    async with asyncio.TaskGroup() as group:
        group.create_task(one.write("trim", 1.0, 5))
        await device.reached.wait()
        second = group.create_task(one.write("trim", 2.0, 5))
        await asyncio.sleep(0)
        one._link.channel = Device(0)  # type: ignore[assignment]
        device.verdict.set()
    assert (second.result().status, second.result().code) == ("refused", "not sent: link down")


async def test_what_cannot_be_asked_is_an_error_with_the_tag() -> None:
    with pytest.raises(PlantError, match="trim: link down"):
        await writer(None).read("trim")
    with pytest.raises(PlantError, match=r"gone: .*no namespace"):
        await writer(Device(0)).describe("gone")
    with pytest.raises(PlantError, match="not a tag"):
        await writer(Device(0)).read("other")
    assert (await writer(Device(0)).write("gone", 1.0, 1)).status == "refused"
    assert (await writer(Device(0)).call("trim", [], 1)).status == "refused"
