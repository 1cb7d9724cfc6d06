"""The whole loop on servers that nobody here wrote: a run of a pump goes in, a verified trim comes out, and everything is on record."""

from __future__ import annotations

import datetime
import json
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from edge_agent.demo import certificate
from edge_agent.diagnose import bundle
from edge_agent.messages import Record

from .agent import LOOP
from .conftest import Stage
from .pump_run import RATE, ROOT, Table

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

MODEL = f"pump-valve@{bundle.read(ROOT / 'models' / 'pump-valve', dev=True).card.version}"
TRIM, LEASE = "P1.SpeedTrim", "P1.Lease"
BAD, UNCERTAIN = (20, 50), (310, 335)  # rows; longer than what may be bridged
Line = dict[str, Any]


@dataclass(frozen=True)
class Story:
    """What was left when a run of the pump had been played to the agent from the first start to SIGTERM."""

    run: Table
    start_ms: int  # of the first row
    writes: Sequence[Line]  # the plant's own log
    records: Sequence[Record]  # the ledger
    recording: Path
    page: dict[str, Any]  # the last status
    said: str  # the same for a person
    exit_code: int

    def of(self, kind: str, **wanted: Any) -> list[Record]:
        return [r for r in self.records if r.kind == kind and all(r.payload.get(k) == v for k, v in wanted.items())]

    def since(self, row: int, wall_ns: int) -> float:
        """Seconds of the pump's life from this row of the run to this time."""
        return (wall_ns / 1e6 - self.start_ms) / 1000 * RATE - self.run.seconds()[row]


@pytest.fixture(scope="module")
def story(stage: Stage, run: Table) -> Story:
    """Learn, be armed, see the valve close, relieve the pump, see it open, go back: once for all tests that only look."""
    played = run.cut(before=420).with_status(Bad=BAD, UncertainLastUsableValue=UNCERTAIN)
    plant, agent = stage.set_up(played), stage.agent
    recording = stage.folder / "recording"
    agent.start("--record", str(recording)).until("links", _links_up, 30)
    start_ms = stage.play(played)
    agent.until("diagnosis and steady rounds", lambda p: _diagnoses(p) and p["machine"]["jitter_s"] < 1.0, 40)
    agent.cli("arm", agent.config, LOOP, "--reason", "valve checked", "--for", "1h", "--by", "mary")
    assert plant.wait(lambda log: _last_trim(log) == -200, 40), agent.log
    assert plant.wait(lambda log: _last_trim(log) == 0, 40), agent.log
    page = agent.until("outcome", lambda p: p["loops"][LOOP]["execute"]["tags"]["speed_trim"]["value"] == 0, 5)
    said = agent.cli("status", agent.config)
    code = agent.end()
    writes, records = plant.writes(), agent.records()
    stage.clear()
    return Story(played, start_ms, writes, records, recording, page, said, code)


def _links_up(page: dict[str, Any]) -> bool:
    return all(link["up"] for link in page["connectors"].values()) and len(page["connectors"]) == 2


def _diagnoses(page: dict[str, Any]) -> bool:
    diagnosis = page["loops"][LOOP]["diagnosis"]
    return diagnosis is not None and diagnosis["status"] == "ok"


def _last_trim(log: Sequence[Line]) -> float | None:
    return next((line["value"] for line in reversed(log) if line.get("write") == TRIM), None)


# ---------------------------------------------------------------- what the story has to tell


def test_the_valve_closes_the_pump_is_relieved_the_valve_opens_and_the_trim_goes_back(story: Story) -> None:
    states = [r.payload["state"] for r in story.of("decision") if r.payload["state"] != r.payload["previous"]]
    assert states == ["relief", "normal"]
    into, back = (r.payload["end_ns"] for r in story.of("decision") if r.payload["state"] != r.payload["previous"])
    assert 5 <= story.since(story.run.onset, into) < 60
    assert 20 <= story.since(story.run.end, back) < 120
    assert story.exit_code == 0
    assert story.page["loops"][LOOP]["errors"] == 0
    assert re.search(r"^loop valve: armed until ", story.said, re.MULTILINE)
    assert re.search(r"^  state   normal: ", story.said, re.MULTILINE)


def test_the_plants_own_log_shows_the_intended_writes_the_heartbeat_and_nothing_else(story: Story) -> None:
    trims = [line for line in story.writes if line["write"] == TRIM]
    beats = [line for line in story.writes if line["write"] == LEASE]
    assert len(trims) + len(beats) == len(story.writes)
    assert [line["value"] for line in trims] == [r.payload["value"] for r in story.of("intent")]
    assert [line["value"] for line in trims] == [*range(-20, -201, -20), *range(-180, 1, 20)]
    assert {(line["type"], line["stamped"]) for line in trims} == {("Double", False)}
    assert {(line["user"], line["client"]) for line in story.writes} == {("agent", "edge-agent hall3-pump1")}
    assert story.page["connectors"]["plc"]["security"] == "Basic256Sha256 SignAndEncrypt"
    assert [line["value"] for line in beats] == list(range(1, len(beats) + 1))


def test_every_intent_stood_in_the_ledger_before_its_write_and_was_confirmed_once(story: Story) -> None:
    trims = [line for line in story.writes if line["write"] == TRIM]
    for intent, line in zip(story.of("intent"), trims, strict=True):
        (outcome,) = story.of("outcome", intent=intent.seq)
        assert (outcome.payload["status"], outcome.payload["stage"], outcome.payload["after"]) == ("confirmed", "write", line["value"])
        assert intent.seq < outcome.seq
        assert intent.wall_ns / 1e6 < line["at"] + 1  # the log counts whole milliseconds
        assert line["at"] <= outcome.wall_ns / 1e6 + 1
        assert all(ok for _, ok, _ in intent.payload["findings"])


def test_while_values_are_bad_or_uncertain_the_loop_has_no_evidence_and_holds(story: Story) -> None:
    first, *_ = story.of("decision")
    assert first.payload["unknown"]
    assert re.search(r"flow: bad.* in \d+ of \d+ rows", first.payload["diagnosis"]["why"])
    held = next(r for r in story.of("mode", to="hold") if "uncertain" in r.payload["reason"])
    assert story.since(UNCERTAIN[0], held.wall_ns) > 0
    assert story.since(UNCERTAIN[1], held.wall_ns) < 20
    released = next(r for r in story.of("mode", **{"from": "hold"}) if r.seq > held.seq)
    assert released.payload["to"] == "armed"
    assert story.since(UNCERTAIN[1], released.wall_ns) > 55, "not before the last of those rows has left the window"


def test_who_armed_it_why_and_by_which_signed_model_is_on_record(story: Story) -> None:
    (armed,) = [r for r in story.of("mode") if r.payload["event"] == "raise"]
    assert (armed.payload["by"], armed.payload["reason"], armed.payload["to"]) == ("mary", "valve checked", "armed")
    (admitted,) = story.of("model", event="admitted")
    assert (admitted.payload["model"], admitted.payload["signed_by"]) == (MODEL, "test")


def test_the_ledger_verifies(stage: Stage, story: Story) -> None:
    report = json.loads(stage.agent.cli("ledger", "verify", stage.agent.config, "--json"))
    assert report["ok"]
    assert report["records"] >= len(story.records)


def test_explain_tells_the_story_of_a_write(stage: Stage, story: Story) -> None:
    told = stage.agent.cli("explain", stage.agent.config, str(story.of("intent")[0].seq))
    assert re.search(rf"diagnosis +ok +score 0\.\d+.* by {re.escape(MODEL)}", told)
    assert re.search(r"because of \w+ \d+%", told)
    assert re.search(r"decision +normal -> relief: .*score 0\.\d+ > 0\.5 for 0\.25 s", told)
    assert "intended   speed_trim = -20.0" in told
    assert told.count("           ok  ") == 14
    assert "outcome    speed_trim confirmed: Good; reads -20.0" in told


def test_a_pool_pulls_what_it_may_see_exactly_once(stage: Stage, story: Story, tmp_path: Path) -> None:
    pull = ("pool", "pull", "--into", tmp_path / "pool", "--json")
    with _served(stage) as url:
        first = json.loads(stage.agent.cli(*pull, url))["pulled"][0]
        again = json.loads(stage.agent.cli(*pull, url))["pulled"][0]
    rows = [row for file in (tmp_path / "pool").rglob("*.parquet") for row in pyarrow.parquet.read_table(file).to_pylist()]
    keys = Counter((row["agent"], row["epoch"], row["seq"]) for row in rows)
    visible = {("hall3-pump1", r.epoch, r.seq) for r in stage.agent.records() if r.share == "company"}
    assert set(keys) == visible
    assert set(keys.values()) == {1}
    assert (first["records"], again["records"], again["in_pool"]) == (len(visible), 0, len(visible))
    intents = [json.loads(row["payload"])["value"] for row in rows if row["kind"] == "intent"]
    assert intents[: len(story.of("intent"))] == [r.payload["value"] for r in story.of("intent")]


def test_the_recording_replays_to_the_byte_twice(stage: Stage, story: Story, tmp_path: Path) -> None:
    for name in ("one", "two"):
        found = json.loads(stage.agent.cli("replay", story.recording, stage.agent.config, "--out", tmp_path / name, "--json"))
        assert (found["same_config"], found["different"], found["missing"]) == (True, 0, 0)
        assert found["decisions"] >= story.page["loops"][LOOP]["turns"] > 800
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    replayed = {line["seq"]: line for line in map(json.loads, (tmp_path / "one").read_text().splitlines())}
    for live in story.of("decision"):
        again = replayed[live.payload["decision"]]
        assert (again["state"], again["reason"], again["end_ns"]) == tuple(live.payload[k] for k in ("state", "reason", "end_ns"))


def test_how_long_it_takes_from_the_pump_to_the_write(
    story: Story, tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.agent.cli("replay", story.recording, stage.agent.config, "--out", tmp_path / "out")
    ends = {line["seq"]: line["end_ns"] / 1e6 for line in map(json.loads, (tmp_path / "out").read_text().splitlines())}
    trims = [line["at"] for line in story.writes if line["write"] == TRIM]
    outcomes = [o.payload for i in story.of("intent") for o in story.of("outcome", intent=i.seq)]
    event = [at - ends[i.payload["decision"]] for at, i in zip(trims, story.of("intent"), strict=True)]
    figures = {
        "last row to write at the plant": event,
        "decision to acknowledged write": [o["write_ms"] for o in outcomes],
        "write to read back": [o["verify_ms"] for o in outcomes],
    }
    into = next(r for r in story.of("decision") if r.payload["state"] == "relief")
    delay_s = story.since(story.run.onset, into.payload["end_ns"])
    with capsys.disabled():
        print(f"\n{story.run.name}: the valve began to close {delay_s:.0f} s before the decision; {len(event)} writes")
        for what, values in figures.items():
            cuts = statistics.quantiles(values, n=100, method="inclusive")
            print(f"  {what:32} p50 {cuts[49]:6.1f} ms   p99 {cuts[98]:6.1f} ms")
    assert statistics.median(event) < 1000


# ---------------------------------------------------------------- what may go wrong


def test_sigterm_takes_the_trim_back_by_writes_that_are_on_record_too(stage: Stage, story: Story, run: Table) -> None:
    plant = _relieving(stage, run)
    assert stage.agent.end() == 0
    values = [line["value"] for line in plant.of(TRIM)]
    lowest = values.index(min(values))
    assert min(values) < -20
    assert all(a > b for a, b in pairwise(values[: lowest + 1]))
    assert all(a < b for a, b in pairwise(values[lowest:]))
    assert values[-1] == 0
    ours = [r for r in stage.agent.records() if r.epoch == stage.agent.records()[-1].epoch]
    intents = [r for r in ours if r.kind == "intent"]
    assert [r.payload["value"] for r in intents] == values
    assert {r.payload["purpose"] for r in intents[lowest + 1 :]} == {"return"}
    confirmed = {r.payload["intent"] for r in ours if r.kind == "outcome" and r.payload["status"] == "confirmed"}
    assert confirmed == {r.seq for r in intents}
    assert [r.payload["to"] for r in ours if r.kind == "mode"][-2:] == ["shed", "observe"]
    assert not any("fallback" in line for line in plant.log)


def test_after_sigkill_in_mid_action_the_plant_helps_itself_and_the_restarted_loop_only_observes(
    stage: Stage, story: Story, run: Table
) -> None:
    plant, agent = _relieving(stage, run), stage.agent
    agent.kill()
    written, before = len(plant.writes()), agent.records()[-1].epoch
    assert plant.wait(lambda log: any("fallback" in line for line in log), 5)
    page = agent.start().until("its wish", lambda p: _links_up(p) and p["loops"][LOOP]["wants"], 30)
    assert page["loops"][LOOP]["mode"] == "observe"
    assert page["loops"][LOOP]["diagnosis"]["status"] == "ok"
    turns = page["loops"][LOOP]["turns"]
    agent.until("twenty more turns", lambda p: p["loops"][LOOP]["turns"] > turns + 20, 10)
    assert agent.end() == 0
    assert len(plant.writes()) == written
    killed = [r for r in agent.records("intent") if r.epoch == before]
    assert [r.payload["value"] for r in killed] == [line["value"] for line in plant.of(TRIM)], "the one under way is on record too"
    assert "none is on record" in agent.cli("explain", agent.config, str(killed[-1].seq))
    ours = [r for r in agent.records() if r.epoch == agent.records()[-1].epoch]
    assert not [r for r in ours if r.kind in ("intent", "mode")]
    assert json.loads(agent.cli("ledger", "verify", agent.config, "--json"))["ok"]


def test_a_stranger_with_the_plants_address_is_not_spoken_to_and_the_agent_lives_on(stage: Stage, story: Story, run: Table) -> None:
    plant = stage.set_up(run.cut(before=90, after=330).with_status())
    _pin_another(stage.folder / "plc.der", stage.folder / "stranger")
    agent = stage.agent.start()
    page = agent.until("a refusal", lambda p: p["connectors"]["plc"]["link"] == "down" and p["connectors"]["bus"]["up"], 20)
    assert "not the pinned one" in page["connectors"]["plc"]["reason"]
    agent.cli("arm", agent.config, LOOP, "--reason", "try", code=1)
    page = agent.until("time to pass", lambda p: p["up_s"] > page["up_s"] + 2, 10)
    assert not page["connectors"]["plc"]["up"]
    assert page["health"] == ""
    assert agent.end() == 0
    assert plant.writes() == []


def _relieving(stage: Stage, run: Table) -> Any:
    """The plant, once the agent (which has learnt already) is in the middle of the third write of a relief."""
    played = run.cut(before=100, after=400).with_status()
    plant, agent = stage.set_up(played), stage.agent
    agent.start().until("links", _links_up, 30)
    stage.play(played)
    agent.until("diagnosis and steady rounds", lambda p: _diagnoses(p) and p["machine"]["jitter_s"] < 1.0, 40)
    agent.cli("arm", agent.config, LOOP, "--reason", "again", "--for", "1h")
    assert plant.wait(lambda log: sum(line.get("write") == TRIM for line in log) == 3, 20), agent.log
    return plant


def _pin_another(file: Path, scratch: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    stranger, _ = certificate.ensure(scratch, name="stranger", uri="urn:stranger", now=now)
    file.write_bytes(stranger.read_bytes())


@contextmanager
def _served(stage: Stage) -> Iterator[str]:
    """The address of `edge-agent serve`."""
    command = [sys.executable, "-m", "edge_agent", "serve", str(stage.agent.config), "--port", "0"]
    with (stage.folder / "api.log").open("wb") as log:
        api = subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, env=stage.agent.environment, text=True)
    try:
        assert api.stderr
        found = re.search(r"http://\S+", api.stderr.readline())
        assert found
        yield found[0]
    finally:
        api.terminate()
        api.communicate(timeout=20)
