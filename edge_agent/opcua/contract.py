"""What does the server itself say about a node to be written, or a method to be called?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent import units
from edge_agent.contracts import TagContract
from edge_agent.errors import PlantError
from edge_agent.opcua import nodes
from edge_agent.opcua.channel import Channel
from edge_agent.opcua.server import Server
from edge_agent.opcua.values import code_name

# Attribute numbers: OPC 10000-6, A.1
_VALUE, _DATA_TYPE, _VALUE_RANK, _ACCESS, _USER_ACCESS = 13, 14, 15, 17, 18
_EXECUTABLE, _USER_EXECUTABLE = 21, 22
_CAN_WRITE = 1 << 1  # AccessLevel bit: OPC 10000-3, 8.57
_SCALARS = frozenset(range(1, 22))  # concrete built-in types: Boolean .. LocalizedText
_ENUMERATION, _INT32 = 29, 6
_ABSTRACT = frozenset({24, 26, 27, 28})  # BaseDataType, Number, Integer, UInteger: the present value's type decides
_HAS_SUBTYPE, _HAS_PROPERTY = 45, 46
_DEPTH = 10  # of a type above its built-in one


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A writable node: what the rest of the agent sees, and what a write needs."""

    contract: TagContract
    node: Any
    kind: int  # built-in type number
    scalar: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One input of a method."""

    name: str
    kind: int
    type: str


async def describe(channel: Channel, server: Server, address: str) -> Described:
    """Type, access, unit and range of a node, read now. PlantError where the node cannot be asked."""
    node = nodes.resolve(address, server.namespaces)
    attributes = (_DATA_TYPE, _VALUE_RANK, _ACCESS, _USER_ACCESS, _VALUE)
    type_, rank, access, user_access, value = await channel.read([(node, a) for a in attributes], server.per_read)
    if not type_.StatusCode.is_good():
        raise PlantError(f"{address}: {code_name(type_.StatusCode.value)}")
    kind = await _built_in(channel, type_.Value.Value, value)
    low, high, unit = await _analog(channel, server, node)
    writable = all(_good(a, _CAN_WRITE) & _CAN_WRITE for a in (access, user_access))
    contract = TagContract(type=kind_name(kind), writable=writable, unit=unit, low=low, high=high)
    return Described(contract=contract, node=node, kind=kind, scalar=_good(rank, -1) in (-1, -2, -3) and not isinstance(_good(value), list))


async def describe_method(channel: Channel, server: Server, address: str) -> TagContract:
    """Whether this user may call a method now. PlantError where it cannot be asked."""
    node = nodes.resolve(address, server.namespaces)
    executable, by_user = await channel.read([(node, _EXECUTABLE), (node, _USER_EXECUTABLE)], server.per_read)
    if not executable.StatusCode.is_good():
        raise PlantError(f"{address}: {code_name(executable.StatusCode.value)}")
    return TagContract(type="method", writable=bool(_good(executable)) and bool(_good(by_user)))


async def arguments(channel: Channel, server: Server, method: Any) -> tuple[Argument, ...]:
    """The inputs of a method, in order; none where it declares none."""
    (node,) = await _properties(channel, method, ["InputArguments"])
    if node is None:
        return ()
    (data,) = await channel.read([(node, _VALUE)], server.per_read)
    found = []
    for argument in _good(data) or []:
        kind = await _built_in(channel, argument.DataType, None)
        array = argument.ValueRank >= 0
        found.append(Argument(name=argument.Name, kind=0 if array else kind, type=kind_name(kind) + ("[]" if array else "")))
    return tuple(found)


def kind_name(kind: int) -> str:
    """The standard's name of a built-in type number: Double."""
    from asyncua import ua

    return str(ua.VariantType(kind).name) if kind in _SCALARS else f"type {kind}"


def _good(data: Any, otherwise: Any = None) -> Any:
    """The value of a good DataValue."""
    good = data.StatusCode is None or data.StatusCode.is_good()
    return data.Value.Value if good and data.Value is not None and data.Value.Value is not None else otherwise


async def _built_in(channel: Channel, data_type: Any, value: Any) -> int:
    """Climb from a data type to the built-in type that carries it; an abstract one leaves it to the present value."""
    for _ in range(_DEPTH):
        number = data_type.Identifier if data_type.NamespaceIndex == 0 and isinstance(data_type.Identifier, int) else 0
        if number in _SCALARS:
            return int(number)
        if number == _ENUMERATION:
            return _INT32
        if number in _ABSTRACT:
            break
        parent = await _parent(channel, data_type)
        if parent is None:
            break
        data_type = parent
    if value is not None and _good(value) is not None:
        return int(value.Value.VariantType.value)
    return 0


async def _parent(channel: Channel, data_type: Any) -> Any:
    from asyncua import ua

    browse = ua.BrowseDescription()
    browse.NodeId = data_type
    browse.BrowseDirection = ua.BrowseDirection.Inverse
    browse.ReferenceTypeId = ua.NodeId(ua.Int32(_HAS_SUBTYPE))
    browse.IncludeSubtypes = False
    browse.NodeClassMask = ua.UInt32(0)
    browse.ResultMask = ua.UInt32(0)
    request = ua.BrowseRequest()
    request.Parameters.NodesToBrowse = [browse]
    (result,) = (await channel.ask(request, ua.BrowseResponse)).Results
    return result.References[0].NodeId if result.References else None


async def _properties(channel: Channel, node: Any, names: Sequence[str]) -> list[Any]:
    """Node ids of a node's standard properties; None where it has none of that name."""
    return await _paths(channel, [(node, name) for name in names])


async def _paths(channel: Channel, wanted: Sequence[tuple[Any, str]]) -> list[Any]:
    """Node ids of properties of nodes."""
    from asyncua import ua

    request = ua.TranslateBrowsePathsToNodeIdsRequest()
    for node, name in wanted:
        step = ua.RelativePathElement()
        step.ReferenceTypeId = ua.NodeId(ua.Int32(_HAS_PROPERTY))
        step.IsInverse, step.IncludeSubtypes = False, True
        step.TargetName = ua.QualifiedName(name, 0)
        path = ua.BrowsePath()
        path.StartingNode = node
        path.RelativePath.Elements = [step]
        request.Parameters.BrowsePaths.append(path)
    results = (await channel.ask(request, ua.TranslateBrowsePathsToNodeIdsResponse)).Results
    return [r.Targets[0].TargetId if r.StatusCode.is_good() and r.Targets else None for r in results]


async def _analog(channel: Channel, server: Server, node: Any) -> tuple[float | None, float | None, str | None]:
    """EURange and EngineeringUnits (OPC 10000-8, 5.3.2), where the node has them."""
    from asyncua import ua

    found = await _properties(channel, node, ["EURange", "EngineeringUnits"])
    present = [n for n in found if n is not None]
    read = dict(zip(present, await channel.read([(n, _VALUE) for n in present], server.per_read), strict=True)) if present else {}
    range_, stated = (_good(read[n]) if n is not None else None for n in found)
    low, high = (float(range_.Low), float(range_.High)) if isinstance(range_, ua.Range) else (None, None)
    return low, high, unit_of(stated) if isinstance(stated, ua.EUInformation) else None


def unit_of(stated: Any) -> str | None:
    """The unit that an EUInformation means: by its UNECE number where it has one, else by what it shows."""
    return units.engineering(stated.UnitId, stated.DisplayName.Text, stated.NamespaceUri or None)


async def stated_units(channel: Channel, asked: Sequence[Any], per_read: int) -> list[str | None]:
    """The EngineeringUnits of many nodes; None where a node states none."""
    from asyncua import ua

    found = await _paths(channel, [(node, "EngineeringUnits") for node in asked])
    present = [n for n in found if n is not None]
    values = iter(await channel.read([(n, _VALUE) for n in present], per_read) if present else [])
    stated = [_good(next(values)) if n is not None else None for n in found]
    return [unit_of(each) if isinstance(each, ua.EUInformation) else None for each in stated]
