"""Did the browser of somebody who can reach us get led here by a foreign page? Host and Origin tell."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from edge_agent.api.access import Denied


def refuse_strays(headers: Mapping[str, str], names: Collection[str]) -> None:
    """Denied unless the request was meant for us.

    A page can make its own domain mean our address (DNS rebinding), but then that domain is the Host: only addresses, names
    without a dot, this machine's own and those in `api.names` are ours. An Origin is sent by browsers with what changes something.
    """
    host = headers.get("host", "")
    if not _ours(_name(f"//{host}"), names):
        raise Denied(403, f"the host {host[:100]!r} is not this agent; use its address, or add the name to api.names")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise Denied(403, f"asked by a page of {origin[:100]!r}; pages of others may not use this agent")


def _ours(name: str, names: Collection[str]) -> bool:
    return name != "" and (_is_address(name) or "." not in name or name in names or name == socket.gethostname().lower())


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
