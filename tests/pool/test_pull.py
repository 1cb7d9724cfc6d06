"""Does every record reach the pool exactly once, whatever dies when?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from edge_agent.errors import AgentUnreachable, EdgeAgentError
from edge_agent.feedback.chain import digest
from edge_agent.feedback.ledger import Ledger
from edge_agent.pool import pull as pulling
from edge_agent.pool.client import Client
from edge_agent.pool.manifest import read
from edge_agent.pool.pull import pull
from edge_agent.pool.report import report

pytestmark = pytest.mark.anyio

Connect = Callable[..., Client]


class Killed(BaseException):
    """The process ends here."""


async def fill(ledger: Ledger, count: int = 20, start: int = 0) -> None:
    for n in range(start, start + count):
        await ledger.append("window", {"n": n, "x": 0.1 * n}, loop="p1" if n % 2 else "p3", blobs=[b"blob %d" % n] if n % 5 == 0 else [])


def stored(into: Path) -> list[dict[str, Any]]:
    manifest = read(into / "a1", "a1")
    return [row for batch in manifest.files for row in pq.read_table(into / "a1" / batch.name).to_pylist()]


def keys(into: Path) -> list[tuple[int, int]]:
    return [(row["epoch"], row["seq"]) for row in stored(into)]


async def test_a_first_pull_brings_everything_and_acknowledges_it(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    await fill(ledger)
    with client() as agent:
        done = pull(agent, tmp_path / "pool", consumer="pool")
    assert (done.agent, done.records, done.blobs, done.cursor) == ("a1", 21, 4, (ledger.epoch, 21))
    assert keys(tmp_path / "pool") == [(ledger.epoch, seq) for seq in range(1, 22)]
    row = stored(tmp_path / "pool")[1]
    assert (row["agent"], row["site"], row["share"], json.loads(row["payload"])["n"]) == ("a1", "jinan", "site", 0)
    blobs = [f for f in (tmp_path / "pool" / "a1" / "blobs").rglob("*") if f.is_file()]
    assert sorted(f.name for f in blobs) == sorted(digest(f.read_bytes()) for f in blobs)
    (consumer,) = client()._http.get("http://a1/v1/consumers", headers={"Authorization": "Bearer secret"}).json()
    assert (consumer["name"], consumer["seq"], consumer["behind"]) == ("pool", 21, 0)


async def test_a_second_pull_brings_only_what_is_new(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    for round_ in range(3):
        await fill(ledger, 5, 5 * round_)
        assert pull(client(), tmp_path, consumer="pool").records == (6 if round_ == 0 else 5)
    assert pull(client(), tmp_path, consumer="pool").files == 0
    assert len(set(keys(tmp_path))) == len(keys(tmp_path)) == 16


async def test_killed_at_any_step_and_run_again_nothing_is_lost_or_doubled(
    client: Connect, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_PAGE", 3)
    monkeypatch.setattr(pulling, "_BATCH_RECORDS", 5)
    await fill(ledger, 8)
    deaths = 0
    for nth in range(1, 100):
        steps: list[str] = []

        def die(agent: str, step: str, records: int, steps: list[str] = steps, nth: int = nth) -> None:
            steps.append(step)
            if len(steps) == nth:
                raise Killed

        into = tmp_path / str(nth)
        try:
            pull(client(), into, consumer=f"pool-{nth}", progress=die)
        except Killed:
            deaths += 1
        else:
            break
        pull(client(), into, consumer=f"pool-{nth}")
        assert keys(into) == [(ledger.epoch, seq) for seq in range(1, 10)], f"killed after {steps}"
        assert {f.name for f in (into / "a1").glob("*.parquet")} == {batch.name for batch in read(into / "a1", "a1").files}
    assert deaths > 9


@pytest.mark.parametrize("moment", ["blob", "parquet", "manifest"])
async def test_killed_before_a_file_has_its_name_nothing_is_lost(
    client: Connect, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A write that dies leaves half of a part file, and no more."""
    await fill(ledger)
    whole = pulling.write_durably if moment == "parquet" else None

    def half(path: Path, data: bytes) -> None:
        path.with_name(path.name + ".part").write_bytes(data[: len(data) // 2])
        raise Killed

    place = {"parquet": "edge_agent.pool.pull", "manifest": "edge_agent.pool.manifest", "blob": "edge_agent.feedback.blobs"}[moment]
    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.write_durably", half)
        with pytest.raises(Killed):
            pull(client(), tmp_path / "pool", consumer="pool")
    assert whole is None or pulling.write_durably is whole
    pull(client(), tmp_path / "pool", consumer="pool")
    assert keys(tmp_path / "pool") == [(ledger.epoch, seq) for seq in range(1, 22)]
    assert not list((tmp_path / "pool").rglob("*.part"))


async def test_hidden_records_are_neither_stored_nor_asked_for_again(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    await fill(ledger)
    done = pull(client("partner"), tmp_path, consumer="partner")
    assert (done.records, done.cursor) == (10, (ledger.epoch, 21))
    assert pull(client("partner"), tmp_path, consumer="partner").records == 0
    assert report(tmp_path)["a1"]["holes"] == {"count": 10, "records": 11}


async def test_two_pulls_of_one_agent_do_not_run_together(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    await fill(ledger)

    def again(agent: str, step: str, records: int) -> None:
        with pytest.raises(EdgeAgentError, match="another pull of this agent"):
            pull(client(), tmp_path, consumer="other")
        raise Killed

    with pytest.raises(Killed):
        pull(client(), tmp_path, consumer="pool", progress=again)


async def test_a_new_ledger_under_the_old_name_goes_on_where_the_old_one_ended(
    client: Connect, ledger: Ledger, tmp_path: Path, file: Any, clock: Any
) -> None:
    await fill(ledger)
    pull(client(), tmp_path / "pool", consumer="pool")
    ledger.close()
    (tmp_path / "state" / "ledger" / "current").rename(tmp_path / "gone")
    second = Ledger.of(file, clock)
    second.start()
    await second.append("window", {"n": 1}, loop="p1")
    second.close()
    pull(client(), tmp_path / "pool", consumer="pool")
    assert keys(tmp_path / "pool")[-2:] == [(second.epoch, 1), (second.epoch, 2)]
    assert len(set(keys(tmp_path / "pool"))) == 23


def answering(lines: list[dict[str, Any]], **headers: str) -> Client:
    """An agent that answers every page with these lines."""

    def handle(request: httpx.Request) -> httpx.Response:
        told = {"edge-agent-name": "a1", "edge-agent-last-epoch": "1", "edge-agent-last-seq": "9", "edge-agent-more": "false", **headers}
        return httpx.Response(200, text="".join(json.dumps(line) + "\n" for line in lines), headers=told)

    return Client("http://a1", "secret", http=httpx.Client(transport=httpx.MockTransport(handle)))


LINE = {"agent": "a1", "site": "", "epoch": 1, "seq": 1, "kind": "gap", "loop": None, "wall_ns": 0, "mono_ns": 0, "owner": "acme"} | {
    "share": "site", "payload": {}, "payload_sha256": digest(b"{}"), "blobs": [], "prev": "00" * 32, "hash": "00" * 32
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "headers", "why"),
    [
        ([LINE], {}, "is not what its hash says"),
        ([{**LINE, "prev": "xyz"}], {}, "is not what its hash says"),
        ([{**LINE, "agent": "b2"}], {}, "is of the agent 'b2'"),
        ([{"a": 1}], {}, "this is no page of an edge agent"),
        ([], {"edge-agent-name": "../../etc"}, "which is no agent's name"),
        ([], {"edge-agent-last-seq": "many"}, "this is no page of an edge agent"),
        ([], {"edge-agent-more": "true", "edge-agent-last-seq": "0", "edge-agent-last-epoch": "0"}, "does not get on"),
    ],
)
def test_what_an_impostor_sends_is_refused(tmp_path: Path, lines: list[Any], headers: dict[str, str], why: str) -> None:
    with pytest.raises(EdgeAgentError, match=why):
        pull(answering(lines, **headers), tmp_path, consumer="pool")
    assert not list(tmp_path.rglob("*.parquet"))


async def test_another_ledger_under_the_same_name_is_refused(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    await fill(ledger)
    pull(client(), tmp_path, consumer="pool")
    manifest = tmp_path / "a1" / "manifest.json"
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**said, "tip_hash": "11" * 32}))
    with pytest.raises(EdgeAgentError, match="another ledger answers under the name 'a1'"):
        pull(client(), tmp_path, consumer="pool")


async def test_a_wrong_token_says_what_the_agent_said(client: Connect, tmp_path: Path) -> None:
    with pytest.raises(EdgeAgentError, match="401: no valid token"):
        pull(client("wrong"), tmp_path, consumer="pool")


def test_an_agent_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9", "secret") as agent, pytest.raises(AgentUnreachable, match="no agent answers"):
        pull(agent, tmp_path, consumer="pool")


async def test_a_damaged_manifest_stops_the_pull(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1" / "manifest.json").write_text("{")
    with pytest.raises(EdgeAgentError, match="cannot be read"):
        pull(client(), tmp_path, consumer="pool")


async def test_the_report_counts_kinds_labels_and_gaps(client: Connect, ledger: Ledger, tmp_path: Path) -> None:
    await fill(ledger, 3)
    await ledger.append("label", {"about": [2], "value": "valve"})
    await ledger.append("gap", {"event": "x"})
    pull(client(), tmp_path, consumer="pool")
    counted = report(tmp_path)["a1"]
    assert counted["kinds"] == {"agent": 1, "gap": 1, "label": 1, "window": 3}
    assert (counted["labels"], counted["declared_gaps"], counted["holes"]["count"]) == ({"valve": 1}, 1, 0)


def test_an_agent_that_is_asked_too_often_is_waited_for(tmp_path: Path) -> None:
    answers = iter([(429, {"Retry-After": "3"}), (429, {"Retry-After": "soon"}), (404, {})])
    waited: list[float] = []
    transport = httpx.MockTransport(lambda request: httpx.Response((answer := next(answers))[0], headers=answer[1]))
    client = Client("http://a1", "secret", http=httpx.Client(transport=transport), wait=waited.append)
    assert client.blob("a" * 64) is None
    assert waited == [3.0, 1.0]
