"""Is a cursor an acknowledgement: durable, monotone, and its owner's?"""

from typing import Any

import pytest

from edge_agent.api.consumers import Consumers
from edge_agent.api.server import agent_of
from edge_agent.clock import ManualClock
from edge_agent.config.model import File
from edge_agent.feedback.ledger import Ledger
from edge_agent.feedback.reader import Cursor

pytestmark = pytest.mark.anyio


async def put(client: Any, ledger: Ledger, seq: int, name: str = "pool", epoch: int | None = None) -> Any:
    return await client.put(f"/v1/consumers/{name}", json={"epoch": ledger.epoch if epoch is None else epoch, "seq": seq})


async def test_an_acknowledged_cursor_is_remembered_and_told(api: Any, ledger: Ledger) -> None:
    await ledger.append("decision", {})
    assert (await put(api["site"], ledger, 1)).json()["behind"] == 1
    (told,) = (await api["site"].get("/v1/consumers")).json()
    assert (told["name"], told["epoch"], told["seq"], told["behind"]) == ("pool", ledger.epoch, 1, 1)


async def test_a_cursor_survives_the_process(file: File, clock: ManualClock) -> None:
    first = agent_of(file, clock).consumers
    first.put("pool", "site", Cursor(5, 7))
    first.close()
    second = agent_of(file, clock).consumers
    assert [c.cursor for c in second.all()] == [Cursor(5, 7)]
    second.close()


async def test_a_cursor_never_goes_back(api: Any, ledger: Ledger) -> None:
    await ledger.append("decision", {})
    assert (await put(api["site"], ledger, 2)).status_code == 200
    assert (await put(api["site"], ledger, 2)).status_code == 200
    refused = await put(api["site"], ledger, 1)
    assert (refused.status_code, "never goes back" in refused.json()["error"]) == (409, True)


async def test_what_does_not_exist_cannot_be_acknowledged(api: Any, ledger: Ledger) -> None:
    assert (await put(api["site"], ledger, 99)).status_code == 422
    assert (await put(api["site"], ledger, 1, epoch=ledger.epoch + 1)).status_code == 422


async def test_a_consumer_belongs_to_the_token_that_made_it(api: Any, ledger: Ledger) -> None:
    await put(api["site"], ledger, 1)
    assert (await put(api["company"], ledger, 1)).status_code == 403
    assert (await put(api["company"], ledger, 1, name="other")).status_code == 200
    assert [c["name"] for c in (await api["company"].get("/v1/consumers")).json()] == ["other"]


@pytest.mark.parametrize("name", ["1x", "x" * 64, "a%20b", "%2e%2e"])
async def test_a_strange_name_is_refused(api: Any, ledger: Ledger, name: str) -> None:
    assert (await put(api["site"], ledger, 1, name=name)).status_code in (404, 422)


def test_there_is_a_most_of_consumers(file: File, clock: ManualClock) -> None:
    from edge_agent.api.access import Denied

    store: Consumers = agent_of(file, clock).consumers
    for n in range(256):
        store.put(f"c{n}", "site", Cursor(1, 1))
    with pytest.raises(Denied, match="256 consumers already"):
        store.put("one-more", "site", Cursor(1, 1))
    store.put("c0", "site", Cursor(1, 2))
    store.close()
