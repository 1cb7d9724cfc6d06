"""OPC UA: subscriptions to a server's nodes, with source times and qualities; reads, writes and method calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator

from edge_agent.config.model import Tag as BaseTag
from edge_agent.config.types import Duration, Model
from edge_agent.contracts import Reply, Setup, Sink, TagContract
from edge_agent.messages import Reading, Scalar
from edge_agent.opcua import nodes, options

if TYPE_CHECKING:
    from edge_agent.opcua.link import Link
    from edge_agent.opcua.writes import Writer

_URL = re.compile(r"opc\.tcp://(?P<who>[^/@]*@)?(\[[0-9A-Fa-f:]+\]|[^/:@\s]+):[0-9]{1,5}(/\S*)?")


def _url(value: str) -> str:
    match = _URL.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is no OPC UA address; write it like opc.tcp://10.0.0.5:4840")
    if match["who"]:
        raise ValueError("no user or password in the address: it ends up in logs; use `user` and `password: !secret NAME`")
    return value


def _node(value: str) -> str:
    nodes.parse(value)
    return value


def _dead_band(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", value)):
        return ("percent", float(match[1]))
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return ("absolute", float(value))
    raise ValueError(f"{value!r} is no dead band; write a positive number in the node's own unit, or a share of its range like '1%'")


Node = Annotated[str, AfterValidator(_node), Field(examples=["nsu=urn:plant;s=P1.Flow"])]
DeadBand = Annotated[
    tuple[Literal["absolute", "percent"], float],
    BeforeValidator(_dead_band),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$"}]}),
]


class Security(Model):
    """How the channel is protected. Fail closed: with a policy, only the server whose certificate is pinned is spoken to."""

    policy: options.PolicyName = "None"
    mode: options.ModeName | None = Field(default=None, description="default with a policy: SignAndEncrypt")
    trust: str | None = Field(default=None, description="the server's certificate (DER or PEM), or a folder of certificates it may have")
    certificate: str | None = Field(default=None, description="our own certificate; made on first use where unset")
    key: str | None = Field(default=None, description="our own private key (PEM or DER)")
    unsecured_writes: bool = Field(default=False, description="allow writes over policy None to a server on another machine")

    @model_validator(mode="after")
    def _fail_closed(self) -> Self:
        if self.policy == "None":
            if self.mode or self.trust or self.certificate or self.key:
                raise ValueError("mode, trust, certificate and key mean nothing with policy None; name a policy, like Basic256Sha256")
            return self
        if self.trust is None:
            raise ValueError(f"policy {self.policy} without `trust` would believe any server; pin the server's certificate: trust: plc.der")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both, or neither and the agent makes its own")
        return self


class Config(Model):
    """One OPC UA server, one session."""

    model_config = ConfigDict(hide_input_in_errors=True)  # the input holds a password

    type: Literal["opcua"]
    url: Annotated[str, AfterValidator(_url), Field(examples=["opc.tcp://10.0.0.5:4840"])]
    security: Security = Security()
    user: str | None = None
    password: SecretStr | None = None
    user_certificate: str | None = Field(default=None, description="log in with a certificate instead of a password")
    user_key: str | None = None
    outage: Duration = Field(default=60.0, description="longest outage without loss: sizes the server's queues and lifetimes")
    publish: Duration = Field(default=0.2, description="how often the server sends what has changed")
    sampling: Duration = Field(default=0.1, description="how often the server looks at a node, unless its tag says otherwise")
    keep_alive: Duration = Field(
        default=1.0,
        description="the server speaks at least this often, changes or not; silence is noticed after 1.5 times this and 2 s",
    )
    session_timeout: Duration | None = Field(default=None, description="default: `outage`, at least 30 s, at most 10 min")
    request_timeout: Duration = 4.0
    max_backoff: Duration = Field(
        default=30.0, description="longest wait before a server that refused us is asked again; one that is not there is tried each second"
    )
    audit: Duration = Field(default=60.0, description="how often some tags are read to see that the subscription is not deaf")

    @model_validator(mode="after")
    def _login_is_whole_and_safe(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key belong together")
        if self.user is not None and self.user_certificate is not None:
            raise ValueError("log in with user and password, or with user_certificate and user_key, not with both")
        if self.security.policy == "None" and (self.user is not None or self.user_certificate is not None):
            raise ValueError("user and password over policy None travel in clear; set security.policy and security.trust")
        return self

    @model_validator(mode="after")
    def _durations_fit(self) -> Self:
        if not 0 < self.publish <= self.keep_alive:
            raise ValueError("`publish` must be above 0 and not longer than `keep_alive`")
        if min(self.request_timeout, self.max_backoff, self.audit, self.outage) <= 0:
            raise ValueError("request_timeout, max_backoff, audit and outage must be above 0")
        return self


class Method(Model):
    """A method to call; both are node addresses."""

    object: Node
    method: Node


class Tag(BaseTag):
    """One node, and how it is watched."""

    node: Node | None = None
    sampling: Duration | None = Field(default=None, description="default: the connector's; 0 s: at every change")
    dead_band: DeadBand | None = Field(
        default=None, description="smallest change worth sending: in the node's unit, or like '1%' of its EURange"
    )
    index: Annotated[int, Field(ge=0)] | None = Field(default=None, description="one element of an array")
    method: Method | None = Field(default=None, description="what `call` calls")

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.node is None and self.method is None:
            raise ValueError("a tag needs `node` (to be read and written) or `method` (to be called)")
        if self.index is not None and (self.write or self.node is None):
            raise ValueError("`index` is for reading one element of an array node; such a tag cannot be written")
        return self


class Connector:
    """Keeps one session, delivers what the server publishes, and writes when asked."""

    def __init__(self, config: Config, tags: Mapping[str, Tag], setup: Setup) -> None:
        self._config = config
        self._setup = setup
        self._wanted = [_wanted(name, tag, config) for name, tag in tags.items()]
        self._begun = False
        self._link: Link | None = None
        self._writer: Writer | None = None

    async def run(self, sink: Sink) -> None:
        """Connect, stay connected, deliver; until cancelled."""
        self._begun = True
        await asyncio.to_thread(import_module, "asyncua")  # up to two seconds of processor time; the control loop goes on meanwhile
        from edge_agent.opcua.link import Link
        from edge_agent.opcua.writes import Writer

        link = Link(_options(self._config, self._setup), self._wanted, clock=self._setup.clock, sink=sink)
        self._link, self._writer = link, Writer(link, self._wanted)
        await link.run()

    def status(self) -> Mapping[str, Any]:
        """Link, subscription as revised by the server, counters, and every tag in trouble with its reason."""
        if self._link is None:
            state, reason = ("connecting", "starting") if self._begun else ("down", "not started")
            return {"link": state, "reason": reason, "url": self._config.url, "tags": {}}
        return self._link.status()

    async def describe(self, tag: str) -> TagContract:
        """Ask the server what the tag is. PlantError if it cannot be asked."""
        return await self._writing().describe(tag)

    async def read(self, tag: str) -> Reading:
        """A fresh read from the device. PlantError if it does not answer."""
        return await self._writing().read(tag)

    async def write(self, tag: str, value: Scalar, timeout_s: float) -> Reply:
        """Write once, in the node's exact type, without time stamps."""
        if self._writer is None:
            return Reply(status="refused", code="link down", at_mono_ns=self._setup.clock.mono_ns())
        return await self._writer.write(tag, value, timeout_s)

    async def call(self, tag: str, arguments: Sequence[Scalar], timeout_s: float) -> Reply:
        """Call the tag's method once."""
        if self._writer is None:
            return Reply(status="refused", code="link down", at_mono_ns=self._setup.clock.mono_ns())
        return await self._writer.call(tag, arguments, timeout_s)

    def _writing(self) -> Writer:
        if self._writer is None:
            from edge_agent.errors import PlantError

            raise PlantError(f"connector {self._setup.name}: link down (not started)")
        return self._writer


def _path(text: str | None, home: Path) -> Path | None:
    return home / text if text is not None else None  # an absolute path stays as it is


def _wanted(name: str, tag: Tag, config: Config) -> options.Wanted:
    return options.Wanted(
        tag=name,
        node=tag.node,
        sampling_s=config.sampling if tag.sampling is None else tag.sampling,
        dead_band=options.DeadBand(*tag.dead_band) if tag.dead_band else None,
        index=tag.index,
        unit=tag.source_unit or tag.unit,
        method=options.Method(object=tag.method.object, method=tag.method.method) if tag.method else None,
    )


def _options(config: Config, setup: Setup) -> options.Options:
    security, home = config.security, setup.home
    return options.Options(
        connector=setup.name,
        agent=setup.agent,
        url=config.url,
        state=setup.state,
        security=options.Security(
            policy=security.policy,
            mode=None if security.policy == "None" else security.mode or "SignAndEncrypt",
            trust=_path(security.trust, home),
            certificate=_path(security.certificate, home),
            key=_path(security.key, home),
            unsecured_writes=security.unsecured_writes,
        ),
        login=options.Login(
            user=config.user,
            password=config.password.get_secret_value() if config.password else None,
            certificate=_path(config.user_certificate, home),
            key=_path(config.user_key, home),
        ),
        outage_s=config.outage,
        publish_s=config.publish,
        keep_alive_s=config.keep_alive,
        session_s=min(max(config.outage, 30.0), 600.0) if config.session_timeout is None else config.session_timeout,
        request_s=config.request_timeout,
        max_backoff_s=config.max_backoff,
        audit_s=config.audit,
    )
