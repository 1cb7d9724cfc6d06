"""To whom does a configuration speak? Every address that stands in it, whatever connector it belongs to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_agent.config.load import Configuration
from edge_agent.errors import EdgeAgentError

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_LOCAL_FILE = frozenset({"file", "urn"})
Look = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One machine that a connector names."""

    connector: str
    host: str


def of(configuration: Configuration) -> list[Peer]:
    """Every peer, in the order of the file, each once."""
    found = [
        Peer(connector=name, host=host)
        for name, config in configuration.connectors.items()
        for text in _texts(config.model_dump(mode="json"))
        if (host := _host(text))
    ]
    return list(dict.fromkeys(found))


def addresses(host: str) -> list[str]:
    """Every address of a name, asked now. EdgeAgentError if it has none."""
    try:
        return sorted({str(answer[4][0]).partition("%")[0] for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError as e:
        raise EdgeAgentError(f"{host}: has no address ({e.strerror or e}); write its address instead, or mend the DNS") from e


def dropin(configuration: Configuration, *, look: Look = addresses, resolvers: Path = Path("/etc/resolv.conf")) -> str:
    """The `[Service]` lines that let the unit reach its peers, and nobody else."""
    lines = ["# Made by `edge-agent systemd-dropin`: make it anew when a connector's address changes.", "[Service]"]
    lines += ["IPAddressDeny=", "IPAddressDeny=any", "IPAddressAllow=", "IPAddressAllow=localhost"]
    named = False
    for peer in of(configuration):
        is_name = not _is_address(peer.host)
        named = named or is_name
        lines.append(f"# {peer.connector}: {peer.host}")
        lines += [f"IPAddressAllow={address}" for address in (look(peer.host) if is_name else [peer.host]) if not _loopback(address)]
    if named:
        lines += ["# who answers for names", *(f"IPAddressAllow={a}" for a in _servers(resolvers) if not _loopback(a))]
    return "\n".join(lines) + "\n"


def for_callers(networks: list[str]) -> str:
    """The same for the API's unit: whoever may call it. EdgeAgentError for what is no network."""
    try:
        allowed = [str(ipaddress.ip_network(network, strict=False)) for network in networks]
    except ValueError as e:
        raise EdgeAgentError(f"{e}; write a network like 10.1.0.0/16, or an address") from e
    head = ["# Made by `edge-agent systemd-dropin --callers`.", "[Service]", "IPAddressDeny=", "IPAddressDeny=any", "IPAddressAllow="]
    return "\n".join([*head, "IPAddressAllow=localhost", *(f"IPAddressAllow={network}" for network in allowed)]) + "\n"


def _host(text: str) -> str | None:
    if not _ADDRESS.fullmatch(text):
        return None
    parts = urlsplit(text)
    return parts.hostname if parts.scheme not in _LOCAL_FILE else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _servers(resolvers: Path) -> list[str]:
    try:
        lines = [line.split() for line in resolvers.read_text().splitlines()]
    except OSError:
        return []
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver" and _is_address(words[1])]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
