"""Which node does an address in the configuration mean, in this session?

Namespace indexes move when a PLC is downloaded again, so addresses name the namespace by its URI and are resolved anew
in every session: `nsu=urn:plant;s=P1.Flow`. `i=2258` is the OPC UA standard's own namespace; `ns=2;s=P1.Flow` is taken
as it stands, with a warning. Syntax: OPC 10000-6, 5.3.1.10 and 5.3.1.11.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from edge_agent.errors import PlantError

_ADDRESS = re.compile(r"(?:nsu=(?P<uri>[^;]+);|ns=(?P<index>[0-9]{1,5});)?(?P<id>i=[0-9]{1,10}|s=.+|g=[0-9A-Fa-f-]{36}|b=[A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A node address, taken apart."""

    uri: str | None
    index: int
    identifier: str  # "s=P1.Flow"

    @property
    def moves(self) -> bool:
        """Whether it names a namespace by an index that may move."""
        return self.uri is None and self.index > 0


@cache
def parse(text: str) -> Address:
    """Take an address apart. ValueError says what is wrong and how it should look."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no node address; write it like 'nsu=urn:plant;s=P1.Flow' or 'nsu=urn:plant;i=1001'")
    uri = match["uri"]
    if uri is not None:  # a URI's own ';' and '%' are escaped: OPC 10000-6, 5.3.1.11
        uri = uri.replace("%3B", ";").replace("%3b", ";").replace("%25", "%")
    return Address(uri=uri, index=int(match["index"] or 0), identifier=match["id"])


def resolve(text: str, namespaces: Sequence[str]) -> Any:
    """The ua.NodeId in a session whose NamespaceArray is `namespaces`. PlantError if it has no such namespace."""
    from asyncua import ua

    address = parse(text)
    index = address.index
    if address.uri is not None:
        if address.uri not in namespaces:
            raise PlantError(f"{text}: the server has no namespace {address.uri!r}; it has: {', '.join(namespaces)}")
        index = namespaces.index(address.uri)
    return ua.NodeId.from_string(f"ns={index};{address.identifier}")
