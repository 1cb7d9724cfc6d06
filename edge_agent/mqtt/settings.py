"""What may stand in the YAML for a connection to an MQTT broker?"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from edge_agent.config.types import Duration, Model, Size


class Tls(Model):
    """Whom we trust, and who we are. PEM files."""

    ca: str | None = Field(default=None, description="file of the authority that signed the broker's certificate; default: the system's")
    certificate: str | None = Field(default=None, description="our own certificate, where the broker asks for one")
    key: str | None = Field(default=None, description="the key of our certificate")

    @model_validator(mode="after")
    def _pair(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both or none")
        return self


class Backoff(Model):
    """How long to wait between attempts to connect; each wait is drawn at random below a bound that doubles."""

    first: Duration = 0.25
    unreached: Duration = Field(default=1.0, description="longest wait while the broker is not there or the network is cut")
    longest: Duration = Field(default=60.0, description="longest wait after the broker has refused us")


class Broker(Model):
    """A connection to a broker. The session is always persistent: what QoS 1 tags miss comes after the outage."""

    url: Annotated[str, Field(description="mqtt://host[:1883] or mqtts://host[:8883]", pattern=r"^mqtts?://")]
    version: Literal[5, "3.1.1"] = Field(default=5, description="tried first; a broker that knows only 3.1.1 gets 3.1.1")
    client_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="must be unique at the broker and never change; default: AGENT-CONNECTOR"
    )
    user: str | None = None
    password: SecretStr | None = None
    tls: Tls = Tls()
    keep_alive: Duration = Field(
        default=5.0, description="a frozen broker, or a connection that the network forgot, is noticed after twice this"
    )
    connect_timeout: Duration = 5.0
    session_expiry: Duration = Field(default=86400.0, description="longest outage the broker keeps QoS 1 messages for (MQTT 5)")
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=1024, description="messages in flight before we acknowledge (MQTT 5)"
    )
    max_payload: Size = Field(default=1e6, description="larger messages are dropped and counted")
    commit_timeout: Duration = Field(
        default=10.0, description="a message that is not on disk by then is asked for again, by connecting anew"
    )
    coalesce: Duration = Field(default=0.0, description="wait this long to read more at once: less CPU, later data; 0 ms: at once")
    bulk: bool = Field(default=True, description="read many messages with one call; false: paho's own, slower reading")
    backoff: Backoff = Backoff()

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError("user and password do not belong in the URL; write `user:` and `password:`")
        if not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{url!r} is not understood; write mqtt://HOST:PORT or mqtts://HOST:PORT")
        if parts.port == 0:
            raise ValueError(f"{url!r}: port 0 cannot be connected to")
        return url

    @model_validator(mode="after")
    def _secrets(self) -> Broker:
        if self.password is not None and self.user is None:
            raise ValueError("a password needs a user; write `user:` too")
        if self.password is not None and not self.encrypted and not _loopback(self.host):
            raise ValueError(f"the password would travel readable to {self.host}; use mqtts:// (or take user and password away)")
        if self.tls != Tls() and not self.encrypted:
            raise ValueError("tls: needs mqtts://; mqtt:// is not encrypted")
        if not 1 <= self.keep_alive <= 65535:
            raise ValueError(f"keep_alive is {self.keep_alive:g} s; MQTT allows 1 s to 65535 s")
        return self

    def at_home(self, home: Path) -> Broker:
        """The same, with the TLS files' relative paths starting at the configuration's folder."""
        files = {name: str(home / file) for name in ("ca", "certificate", "key") if (file := getattr(self.tls, name)) is not None}
        return self.model_copy(update={"tls": Tls(**files)})

    @property
    def encrypted(self) -> bool:
        return self.url.startswith("mqtts://")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (8883 if self.encrypted else 1883)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
