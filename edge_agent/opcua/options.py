"""What is asked of one OPC UA connection and of each of its tags? Plain frozen values, already checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

PolicyName = Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
ModeName = Literal["Sign", "SignAndEncrypt"]


class DeadBand(NamedTuple):
    """Smallest change worth reporting, applied by the server."""

    kind: Literal["absolute", "percent"]  # percent: of the node's EURange
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How the channel is protected, and whom we believe."""

    policy: PolicyName = "None"
    mode: ModeName | None = None
    trust: Path | None = None  # the server's own certificate, or a folder of such
    certificate: Path | None = None  # ours; made on first use where unset
    key: Path | None = None
    unsecured_writes: bool = False

    def __str__(self) -> str:
        return "none" if self.policy == "None" else f"{self.policy} {self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are to the server: nobody, a user with a password, or the owner of a certificate."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One connection. Durations in seconds."""

    connector: str
    agent: str
    url: str
    state: Path
    security: Security
    login: Login
    outage_s: float  # the server's queues and our subscription survive this long without us
    publish_s: float
    keep_alive_s: float
    session_s: float
    request_s: float
    max_backoff_s: float
    audit_s: float

    @property
    def application_uri(self) -> str:
        return f"urn:edge-agent:{self.agent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method and the object it belongs to, as node addresses."""

    object: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One tag, as the configuration addresses it."""

    tag: str
    node: str | None
    sampling_s: float
    dead_band: DeadBand | None = None
    index: int | None = None  # one element of an array
    method: Method | None = None
    unit: str | None = None  # on the wire, as the configuration has it
