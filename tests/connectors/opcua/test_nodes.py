"""Addresses of nodes."""

from __future__ import annotations

import pytest

from edge_agent.errors import PlantError
from edge_agent.opcua.nodes import parse, resolve

_NAMES = ["http://opcfoundation.org/UA/", "urn:server", "urn:plant", "urn:a;b"]


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("nsu=urn:plant;s=P1.Flow", "ns=2;s=P1.Flow"),
        ("nsu=urn:plant;i=1001", "ns=2;i=1001"),
        ("nsu=urn:plant;s=a;b=c ", "ns=2;s=a;b=c"),
        ("nsu=urn:a%3Bb;s=x", "ns=3;s=x"),
        ("nsu=urn:plant;g=09087e75-8e5e-499b-954f-f2a9603db28a", "ns=2;g=09087e75-8e5e-499b-954f-f2a9603db28a"),
        ("i=2258", "i=2258"),
        ("ns=2;s=Flow", "ns=2;s=Flow"),
    ],
)
def test_an_address_is_resolved_by_the_servers_own_list(text: str, resolved: str) -> None:
    assert resolve(text, _NAMES).to_string() == resolved


def test_a_namespace_that_the_server_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(PlantError, match=r"no namespace 'urn:gone'; it has: .*urn:plant"):
        resolve("nsu=urn:gone;s=x", _NAMES)


@pytest.mark.parametrize("text", ["", "Flow", "s=", "nsu=urn:plant;Flow", "ns=x;s=a", "i=-1", "g=1", "ns=2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no node address"):
        parse(text)


def test_only_an_index_above_zero_may_move() -> None:
    assert [parse(t).moves for t in ("ns=2;s=a", "i=85", "ns=0;i=85", "nsu=urn:p;s=a")] == [True, False, False, False]
