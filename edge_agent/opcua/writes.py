"""How is a tag described, read, written and called, so that nobody is left guessing what happened?

A write goes out once, in the node's exact type and without time stamps (S7 and KEPServerEX refuse them). "refused" is
said only where it certainly did not happen: not sent, or the server said no. Everything else is "unknown".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from edge_agent.contracts import Reply, TagContract
from edge_agent.errors import PlantError
from edge_agent.messages import Reading, Scalar
from edge_agent.opcua import contract, nodes, trouble
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.contract import Argument, Described
from edge_agent.opcua.encode import fit
from edge_agent.opcua.link import Link
from edge_agent.opcua.options import Options, Wanted
from edge_agent.opcua.server import Server
from edge_agent.opcua.values import code_name, nanoseconds, quality_of, value_of

_VALUE = 13
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
# With these the server (or the gateway behind it) does not know itself whether the device did it.
_DOUBTFUL = frozenset(
    {
        "BadTimeout",
        "BadRequestTimeout",
        "BadCommunicationError",
        "BadUnexpectedError",
        "BadInternalError",
        "BadRequestInterrupted",
        "BadShutdown",
        "BadConnectionClosed",
        "BadSecureChannelClosed",
        "BadWaitingForResponse",
    }
)
_T = TypeVar("_T")


class _Ready(NamedTuple):
    """A request that may be sent."""

    request: Any
    answer: type[Any]
    status: Callable[[Any], Any]  # the status code in the answer


_Prepare = Callable[[Wanted, Channel, Server], Awaitable[_Ready]]


class Writer:
    """The side of a connection that asks for single tags. One write or call at a time."""

    def __init__(self, link: Link, wanted: Sequence[Wanted]) -> None:
        self._link = link
        self._wanted = {w.tag: w for w in wanted}
        self._one_at_a_time = asyncio.Lock()
        self._described: dict[str, Described] = {}  # as of this channel:
        self._arguments: dict[str, tuple[Argument, ...]] = {}
        self._as_of: Channel | None = None

    # ------------------------------------------------------------ asking

    async def describe(self, tag: str) -> TagContract:
        """What the server says of the tag now. PlantError if it cannot be asked."""
        wanted, channel, server = self._up(tag)
        if wanted.node is None and wanted.method is not None:
            return await _answered(tag, contract.describe_method(channel, server, wanted.method.method))
        described = await _answered(tag, contract.describe(channel, server, _node(wanted)))
        self._remember(channel)
        self._described[tag] = described
        return described.contract

    async def read(self, tag: str) -> Reading:
        """A fresh read. PlantError if the device does not answer; a Bad value is an answer."""
        wanted, channel, server = self._up(tag)
        index = None if wanted.index is None else str(wanted.index)
        node = nodes.resolve(_node(wanted), server.namespaces)
        (data,) = await _answered(tag, channel.read([(node, _VALUE)], index=index))
        code = data.StatusCode.value if data.StatusCode is not None else 0
        value, flaw = value_of(data.Value, code, index is not None)
        source_ns = nanoseconds(data.SourceTimestamp) or nanoseconds(data.ServerTimestamp) or self._link.clock.wall_ns()
        return Reading(value, quality_of(code) | flaw, source_ns, 0.0)

    def _up(self, tag: str) -> tuple[Wanted, Channel, Server]:
        wanted, channel, server = self._wanted.get(tag), self._link.channel, self._link.server
        if wanted is None:
            raise PlantError(f"{tag}: not a tag of connector {self._link.options.connector}")
        if channel is None or server is None or not channel.is_open:
            raise PlantError(f"{tag}: link down")
        return wanted, channel, server

    # ------------------------------------------------------------ acting

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        """Write once."""

        async def prepare(wanted: Wanted, channel: Channel, server: Server) -> _Ready:
            if wanted.index is not None:
                raise PlantError("one element of an array is not written")
            return _write_request(await self._known(wanted, channel, server), value)

        return await self._act(tag, prepare, timeout_s)

    async def call(self, tag: str, arguments: Sequence[Scalar], timeout_s: float) -> Reply:
        """Call the tag's method once."""

        async def prepare(wanted: Wanted, channel: Channel, server: Server) -> _Ready:
            if wanted.method is None:
                raise PlantError("the tag has no method")
            object_, method = (nodes.resolve(a, server.namespaces) for a in (wanted.method.object, wanted.method.method))
            return _call_request(object_, method, arguments, await self._inputs(tag, method, channel, server))

        return await self._act(tag, prepare, timeout_s)

    async def _act(self, tag: str, prepare: _Prepare, timeout_s: float) -> Reply:
        deadline_ns = self._link.clock.mono_ns() + int(timeout_s * 1e9)
        try:
            _refuse_in_clear(self._link.options)
            wanted, channel, server = self._up(tag)
            async with asyncio.timeout(timeout_s):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            return self._reply("refused", f"not sent: another write was still under way after {timeout_s:g} s")
        except PlantError as e:
            return self._reply("refused", str(e))
        try:
            return await self._prepare_and_send(prepare(wanted, channel, server), channel, deadline_ns)
        finally:
            self._one_at_a_time.release()

    async def _prepare_and_send(self, preparing: Awaitable[_Ready], channel: Channel, deadline_ns: int) -> Reply:
        """Up to the sending everything can only refuse; from there on only the server's word makes it certain."""
        clock = self._link.clock
        try:
            async with asyncio.timeout((deadline_ns - clock.mono_ns()) / 1e9):
                ready = await preparing
        except Exception as e:  # noqa: BLE001  whatever went wrong: nothing was sent
            return self._reply("refused", f"not sent: {trouble.words(e)}")
        left_s = (deadline_ns - clock.mono_ns()) / 1e9
        if channel is not self._link.channel or not channel.is_open:
            return self._reply("refused", "not sent: link down")
        if left_s <= 0:
            return self._reply("refused", "not sent: too late")
        return await self._send(channel, ready, left_s)

    async def _send(self, channel: Channel, ready: _Ready, left_s: float) -> Reply:
        from asyncua import ua

        try:
            response = await channel.ask(ready.request, ready.answer, left_s)
            return self._verdict(ready.status(response).value)
        except ua.UaStatusCodeError as e:
            return self._verdict(e.code)
        except TimeoutError:
            return self._reply("unknown", f"timed out after {left_s:.3g} s")
        except Exception as e:  # noqa: BLE001  it was sent, and whatever came back says nothing
            return self._reply("unknown", trouble.words(e))

    def _verdict(self, code: int) -> Reply:
        name = code_name(code)
        if code == 0:
            return self._reply("good", "Good")
        return self._reply("refused" if code >> 31 and name not in _DOUBTFUL else "unknown", name)

    def _reply(self, status: Literal["good", "refused", "unknown"], code: str) -> Reply:
        self._link.counts[f"writes_{status}"] += 1
        return Reply(status=status, code=code, at_mono_ns=self._link.clock.mono_ns())

    # ------------------------------------------------------------ what is known of nodes in this session

    async def _known(self, wanted: Wanted, channel: Channel, server: Server) -> Described:
        self._remember(channel)
        if wanted.tag not in self._described:
            self._described[wanted.tag] = await contract.describe(channel, server, _node(wanted))
        return self._described[wanted.tag]

    async def _inputs(self, tag: str, method: Any, channel: Channel, server: Server) -> tuple[Argument, ...]:
        self._remember(channel)
        if tag not in self._arguments:
            self._arguments[tag] = await contract.arguments(channel, server, method)
        return self._arguments[tag]

    def _remember(self, channel: Channel) -> None:
        """Types belong to a session: after a download the PLC may be another."""
        if channel is not self._as_of:
            self._described.clear()
            self._arguments.clear()
            self._as_of = channel


async def _answered(tag: str, question: Awaitable[_T]) -> _T:
    try:
        return await question
    except Exception as e:
        raise PlantError(f"{tag}: {trouble.words(e)}") from e


def _node(wanted: Wanted) -> str:
    if wanted.node is None:
        raise PlantError(f"{wanted.tag}: has a method and no node; it can only be called")
    return wanted.node


def _refuse_in_clear(options: Options) -> None:
    """Over policy None anybody on the way could change what is written."""
    if options.security.policy == "None" and not options.security.unsecured_writes and urlsplit(options.url).hostname not in _HERE:
        raise PlantError("no writes over policy None to another machine: secure the channel, or set security.unsecured_writes")


def _write_request(described: Described, value: Scalar) -> _Ready:
    from asyncua import ua

    if not described.scalar:
        raise PlantError("the node is an array")
    exact = fit(value, described.kind, described.contract.type)
    item = ua.WriteValue()
    item.NodeId, item.AttributeId = described.node, ua.AttributeIds.Value
    item.Value = ua.DataValue(ua.Variant(exact, ua.VariantType(described.kind)), StatusCode=None)  # the value alone
    request = ua.WriteRequest()
    request.Parameters.NodesToWrite = [item]
    return _Ready(request, ua.WriteResponse, lambda response: response.Results[0])


def _call_request(object_: Any, method: Any, values: Sequence[Scalar], inputs: Sequence[Argument]) -> _Ready:
    from asyncua import ua

    if len(values) != len(inputs):
        takes = ", ".join(f"{a.name} ({a.type})" for a in inputs) or "none"
        raise PlantError(f"{len(values)} arguments given, and the method takes {len(inputs)}: {takes}")
    call = ua.CallMethodRequest()
    call.ObjectId, call.MethodId = object_, method
    call.InputArguments = [ua.Variant(fit(v, a.kind, a.type), ua.VariantType(a.kind)) for v, a in zip(values, inputs, strict=True)]
    request = ua.CallRequest()
    request.Parameters.MethodsToCall = [call]
    return _Ready(request, ua.CallResponse, lambda response: response.Results[0].StatusCode)
