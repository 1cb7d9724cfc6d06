"""How does the plant show itself over OPC UA? Nodes with units and ranges, source times, status codes; two endpoints.

Anybody may read over the open endpoint; only the named user on the signed and encrypted one may write, and then the PLC's
program has the last word. Like an S7 it takes a bare value: a write that carries its own time stamps is refused.
"""

from __future__ import annotations

import datetime
import hmac
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.server.address_space import AttributeService
from asyncua.server.user_managers import UserManager

from edge_agent.demo.plc import TRIM_LIMITS, Plc, Verdict
from edge_agent.demo.sensors import Reported
from edge_agent.demo.simulation import Simulation

NAMESPACE = "urn:edge-agent:demo-plant"
APPLICATION = "urn:edge-agent:demo-plant:server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One node. The unit's code is the UNECE one, packed as OPC UA Part 8 (5.6.3) says."""

    name: str
    type: Any = ua.VariantType.Double
    signal: str | None = None  # of sensors.NOISE; otherwise the PLC's own
    unit: str | None = None
    code: str = ""
    range: tuple[float, float] | None = None
    writable: bool = False


NODES = (
    Shown(name="Flow", signal="flow", unit="l/min", code="L2", range=(0.0, 60.0)),
    Shown(name="PressureIn", signal="pressure_in", unit="bar", code="BAR", range=(-1.0, 3.0)),
    Shown(name="PressureOut", signal="pressure_out", unit="bar", code="BAR", range=(-1.0, 4.0)),
    Shown(name="Current", signal="current", unit="A", code="AMP", range=(0.0, 2.0)),
    Shown(name="MotorTemp", signal="motor_temp", unit="°C", code="CEL", range=(-20.0, 160.0)),
    Shown(name="FluidTemp", signal="fluid_temp", unit="°C", code="CEL", range=(-20.0, 120.0)),
    Shown(name="Speed", signal="speed", unit="rpm", code="RPM", range=(0.0, 3600.0)),
    Shown(name="Running", type=ua.VariantType.Boolean),
    Shown(name="Remote", type=ua.VariantType.Boolean),
    Shown(name="Alarm", type=ua.VariantType.Boolean),
    Shown(name="SpeedBase", unit="rpm", code="RPM", range=(1500.0, 3200.0)),
    Shown(name="SpeedTrim", unit="rpm", code="RPM", range=TRIM_LIMITS, writable=True),
    Shown(name="Lease", type=ua.VariantType.UInt32, writable=True),
    Shown(name="TrimActive", type=ua.VariantType.Boolean),
)

_STATUS = {"good": ua.StatusCodes.Good, "bad": ua.StatusCodes.BadSensorFailure}
_VERDICT: dict[Verdict, Any] = {
    "good": ua.StatusCodes.Good,
    "out of range": ua.StatusCodes.BadOutOfRange,
    "not a number": ua.StatusCodes.BadOutOfRange,
    "not remote": ua.StatusCodes.BadInvalidState,
    "alarm": ua.StatusCodes.BadInvalidState,
}


class PlantServer:
    """The OPC UA server of one plant: start, publish after each scan or so, stop."""

    def __init__(self, simulation: Simulation, *, port: int, user: str, password: str, certificate: Path, key: Path) -> None:
        self._simulation = simulation
        self._server = Server(user_manager=_Users(user, password))
        self._certificate, self._key = certificate, key
        self._ids = {node.name: ua.NodeId("P1." + node.name, 2) for node in NODES}
        self.url = f"opc.tcp://127.0.0.1:{port}/"

    async def start(self) -> None:
        """Build the address space and listen."""
        logging.getLogger("asyncua").setLevel(logging.ERROR)
        logging.getLogger("asyncua.server.uaprocessor").setLevel(logging.CRITICAL)  # a refusal is told to the client, not to the log
        server = self._server
        await server.init()
        await server.set_application_uri(APPLICATION)
        server.set_server_name("edge-agent demo plant")
        server.set_endpoint(self.url)
        await server.load_certificate(self._certificate)
        await server.load_private_key(self._key)
        policies = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
        server.set_security_policy(policies, permission_ruleset=_Readers())
        server.set_identity_tokens([ua.AnonymousIdentityToken, ua.UserNameIdentityToken])
        index = await server.register_namespace(NAMESPACE)
        self._ids = {node.name: ua.NodeId("P1." + node.name, index) for node in NODES}
        await self._build(index)
        server.iserver.attribute_service = _Writes(server.iserver.aspace, self._simulation.plc, self._ids)
        await server.start()

    async def stop(self) -> None:
        """Close every session and stop listening."""
        await self._server.stop()

    async def publish(self, wall_ns: int) -> None:
        """Write what the plant says at this wall time (source time of what is fresh) into the nodes."""
        for node in NODES:
            await self._server.write_attribute_value(self._ids[node.name], self._value(node, wall_ns))

    def _value(self, node: Shown, wall_ns: int) -> Any:
        if node.signal:
            return _sensor(self._simulation.readings[node.signal], node.type, wall_ns)
        value = _program(self._simulation.plc)[node.name]
        return ua.DataValue(ua.Variant(value, node.type), ua.StatusCode(ua.StatusCodes.Good), _moment(wall_ns))

    async def _build(self, index: int) -> None:
        folder = await self._server.nodes.objects.add_object(ua.NodeId("P1", index), ua.QualifiedName("P1", index))
        for node in NODES:
            start = ua.Variant({ua.VariantType.Boolean: False, ua.VariantType.UInt32: 0}.get(node.type, 0.0), node.type)
            variable = await folder.add_variable(self._ids[node.name], ua.QualifiedName(node.name, index), start.Value, node.type)
            if node.unit:
                await variable.add_property(
                    ua.NodeId(f"P1.{node.name}.EngineeringUnits", index), ua.QualifiedName("EngineeringUnits", 0), _unit(node)
                )
            if node.range:
                span = ua.Range(*node.range)
                await variable.add_property(ua.NodeId(f"P1.{node.name}.EURange", index), ua.QualifiedName("EURange", 0), span)
            if node.writable:
                await variable.set_writable()


class _Users(UserManager):  # type: ignore[misc]
    """Anybody is a reader; the one named user, on an encrypted channel, is an operator."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password

    def get_user(self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None) -> User | None:
        if username is None:
            return User(role=UserRole.Anonymous)
        known = hmac.compare_digest(username, self._user) and hmac.compare_digest(password or "", self._password)
        return User(role=UserRole.User, name=username) if known and certificate else None


class _Readers(SimpleRoleRuleset):  # type: ignore[misc]
    """Anonymous sessions may use the services that users may; single writes are judged in _Writes."""

    def __init__(self) -> None:
        super().__init__()
        self._permission_dict[UserRole.Anonymous] = self._permission_dict[UserRole.User]


class _Writes(AttributeService):  # type: ignore[misc]
    """Writes from outside go through the PLC's program; the server's own go straight to the node."""

    def __init__(self, aspace: Any, plc: Plc, ids: dict[str, Any]) -> None:
        super().__init__(aspace)
        self._plc, self._trim, self._lease = plc, ids["SpeedTrim"], ids["Lease"]

    async def write(self, params: Any, user: User = User(role=UserRole.Admin)) -> list[Any]:  # noqa: B008 - as the library has it
        if user.role is UserRole.Admin:
            answers: list[Any] = await super().write(params, user)
            return answers
        return [ua.StatusCode(self._judge(write, user)) for write in params.NodesToWrite]

    def _judge(self, write: Any, user: User) -> Any:
        if user.role is not UserRole.User or write.AttributeId != ua.AttributeIds.Value:
            return ua.StatusCodes.BadUserAccessDenied
        if write.Value.SourceTimestamp or write.Value.ServerTimestamp:
            return ua.StatusCodes.BadWriteNotSupported
        variant = write.Value.Value or ua.Variant()
        if write.NodeId == self._trim and variant.VariantType == ua.VariantType.Double:
            return _VERDICT[self._plc.write_trim(float(variant.Value))]
        if write.NodeId == self._lease and variant.VariantType == ua.VariantType.UInt32:
            return _VERDICT[self._plc.write_lease(int(variant.Value))]
        return ua.StatusCodes.BadTypeMismatch if write.NodeId in (self._trim, self._lease) else ua.StatusCodes.BadNotWritable


def _sensor(reported: Reported, kind: Any, wall_ns: int) -> Any:
    status = ua.StatusCode(_STATUS[reported.status])
    stamp = _moment(wall_ns - int(reported.age_s * 1e9))
    return ua.DataValue(ua.Variant(reported.value, kind), status, stamp)


def _program(plc: Plc) -> dict[str, Any]:
    return {
        "Running": plc.running,
        "Remote": plc.remote,
        "Alarm": plc.alarm,
        "SpeedBase": plc.base,
        "SpeedTrim": plc.setpoint,
        "Lease": plc.lease,
        "TrimActive": plc.active,
    }


def _unit(node: Shown) -> Any:
    return ua.EUInformation(
        NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
        UnitId=int.from_bytes(node.code.encode(), "big"),
        DisplayName=ua.LocalizedText(node.unit),
        Description=ua.LocalizedText(node.unit),
    )


def _moment(wall_ns: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(wall_ns / 1e9, datetime.UTC)
