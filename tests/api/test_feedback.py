"""Are pages whole, in order, complete, and only of what the token may see?"""

import gzip
import json
from typing import Any

import httpx
import pytest
import zstandard

from edge_agent.api import feedback as pages
from edge_agent.feedback.ledger import Ledger

pytestmark = pytest.mark.anyio


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def fill(ledger: Ledger, count: int = 12) -> None:
    """Records of the loops p1 (company), p2 (consortium), p3 (site), in turn; after the first of the agent's own."""
    for n in range(count):
        await ledger.append("decision", {"n": n}, loop=("p1", "p2", "p3")[n % 3])


async def pull(client: httpx.AsyncClient, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor, more = {"after": "0", "epoch": "0"}, True
    while more:
        response = await client.get("/v1/feedback", params={**cursor, "limit": limit})
        found += lines(response)
        cursor = {"after": response.headers["edge-agent-last-seq"], "epoch": response.headers["edge-agent-last-epoch"]}
        more = response.headers["edge-agent-more"] == "true"
    return found


@pytest.mark.parametrize("limit", [1, 2, 5, 5000])
async def test_pages_of_any_size_together_are_everything_in_order(api: Any, ledger: Ledger, limit: int) -> None:
    await fill(ledger)
    assert [r["seq"] for r in await pull(api["site"], limit)] == list(range(1, 14))


@pytest.mark.parametrize(("token", "loops"), [("site", {None, "p1", "p2", "p3"}), ("company", {"p1", "p2"}), ("consortium", {"p2"})])
async def test_a_consumer_sees_what_its_clearance_allows(api: Any, ledger: Ledger, token: str, loops: set[str | None]) -> None:
    await fill(ledger)
    assert {r["loop"] for r in await pull(api[token], 3)} == loops


async def test_records_that_are_hidden_advance_the_cursor(api: Any, ledger: Ledger) -> None:
    await fill(ledger, 3)
    response = await api["consortium"].get("/v1/feedback", params={"limit": 1})
    assert (response.text, response.headers["edge-agent-last-seq"], response.headers["edge-agent-more"]) == ("", "1", "true")


async def test_a_cursor_of_an_older_ledger_begins_the_new_one_at_its_start(api: Any, ledger: Ledger) -> None:
    await fill(ledger)
    response = await api["site"].get("/v1/feedback", params={"after": 999, "epoch": ledger.epoch - 1})
    assert lines(response)[0]["seq"] == 1


async def test_a_page_ends_at_its_bound_of_bytes_and_never_within_a_record(
    api: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(ledger)
    monkeypatch.setattr(pages, "_BYTES", 1000)
    response = await api["site"].get("/v1/feedback")
    assert 1 < len(lines(response)) < 12
    assert [r["seq"] for r in await pull(api["site"], 5000)] == list(range(1, 14))


async def test_a_record_says_whose_it_is_and_how_it_is_chained(api: Any, ledger: Ledger) -> None:
    await fill(ledger, 1)
    first, second = lines(await api["site"].get("/v1/feedback"))
    assert (second["agent"], second["site"], second["owner"], second["share"]) == ("a1", "jinan", "acme", "company")
    assert second["prev"] == first["hash"]
    assert second["payload"] == {"n": 0}


async def test_pages_come_compressed_if_asked(api: Any, ledger: Ledger) -> None:
    await fill(ledger)
    for accepted, name in (("zstd, gzip", "zstd"), ("gzip", "gzip"), ("zstd;q=0, gzip", "gzip"), ("identity", None), ("br", None)):
        response = await api["site"].get("/v1/feedback", headers={"Accept-Encoding": accepted})
        assert response.headers.get("content-encoding") == name
        assert len(lines(response)) == 13


async def test_compression_is_undone_by_anybodys_library() -> None:
    data = b"line\n" * 100
    assert zstandard.ZstdDecompressor().decompress(pages.squeeze(data, "zstd")[0]) == data
    assert gzip.decompress(pages.squeeze(data, "gzip")[0]) == data


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=x", "after=1e3", "after=٣", "limit=0", "limit=5001", "epoch=-1", "after=" + "9" * 40, "lmit=1", "after=", "%00=1"],
)
async def test_a_query_that_makes_no_sense_is_refused_with_what_to_do(api: Any, query: str) -> None:
    response = await api["site"].get(f"/v1/feedback?{query}")
    assert response.status_code == 422
    assert "give a whole number" in response.json()["error"] or "there are:" in response.json()["error"]


async def test_blobs_are_served_whole_and_in_ranges_to_those_who_may(api: Any, ledger: Ledger) -> None:
    seq = await ledger.append("window", {}, loop="p1", blobs=[b"0123456789"])
    record = ledger.find(seq)
    assert record is not None
    address = f"/v1/blobs/{record.blobs[0]}"
    assert (await api["company"].get(address)).content == b"0123456789"
    part = await api["company"].get(address, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert (await api["consortium"].get(address)).status_code == 404


@pytest.mark.parametrize("name", ["0" * 64, "x", "..%2f..%2fledger.sqlite3", "A" * 64, "0" * 63 + "g", "%00"])
async def test_other_names_of_blobs_lead_nowhere(api: Any, name: str) -> None:
    assert (await api["site"].get(f"/v1/blobs/{name}")).status_code == 404
