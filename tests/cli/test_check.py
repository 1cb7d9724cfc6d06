"""What a person sees of `check`, `init` and `schema`."""

import json
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import root
from edge_agent.config.load import load
from edge_agent.errors import ConfigError

GOOD = """\
version: 1
agent: {name: line1, owner: acme}
connectors:
  plc: {type: sim}
tags:
  flow: {from: plc, wave: sine, unit: l/min, range: [0, 60], max_age: 3 s}
  speed: {from: plc, unit: rpm, write: true}
loops:
  p1:
    mode: advise
    tier: 1
    perceive: {tags: [flow], every: 1 s, window: 60}
    diagnose: {model: some-model}
    decide: {policy: rules, states: {normal: [{when: score > 0.8, go: high}], high: [{when: score < 0.2, go: normal}]}}
    execute: {speed: {limits: [-300, 300], step: 10, rate: 50/min}}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, [str(each) for each in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "some-model").mkdir()
    (tmp_path / "some-model" / "card.yaml").write_text("")
    path = tmp_path / "plant.yaml"
    path.write_text(GOOD)
    return path


def test_a_right_file_is_one_line_and_exit_0(file: Path) -> None:
    result = run("check", file)
    assert (result.exit_code, result.output) == (0, f"{file}: ok: 1 connector, 2 tags, 1 loop; nothing may be written\n")


def test_what_may_be_written_is_told_with_its_limits(file: Path) -> None:
    file.write_text(GOOD.replace("mode: advise", "mode: armed"))
    lines = run("check", file).output.splitlines()
    assert lines[0].endswith("; 1 tag may be written")
    assert lines[1] == "  p1 (armed, tier 1) may write speed: -300 to 300 rpm, step 10"


def test_a_wrong_file_is_exit_78_with_place_line_carets_and_help(file: Path) -> None:
    file.write_text(GOOD.replace("max_age", "max_ag"))
    result = run("check", file)
    assert result.exit_code == 78
    line = "  flow: {from: plc, wave: sine, unit: l/min, range: [0, 60], max_ag: 3 s}"
    assert result.output.splitlines() == [
        f"{file}:6:62: error: tags.flow.max_ag: unknown key `max_ag`",
        f" 6 | {line}",
        f"   | {' ' * line.index('max_ag')}^^^^^^",
        "   = help: did you mean `max_age`?",
        f"{file}: 1 problem; nothing was started",
    ]


def test_all_files_are_told_and_one_wrong_one_decides(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("version: 2\n")
    result = run("check", file, other)
    assert result.exit_code == 78
    assert f"{file}: ok" in result.output
    assert f"{other}:1:10: error: version" in result.output
    assert f"{other}:1:1: error: agent: `agent` is missing" in result.output


def test_a_long_line_is_cut_around_the_place(file: Path) -> None:
    file.write_text(GOOD.replace("wave: sine", "wave: sine, " + "unit: l/min, " * 30))
    result = run("check", file)
    shown, carets = next(
        (a, b) for a, b in zip(result.output.splitlines(), result.output.splitlines()[1:], strict=False) if re.match(r"\s+\| +\^", b)
    )
    assert len(shown) < 140
    assert shown[carets.index("^") :].startswith("unit")


def test_a_warning_is_told_and_does_not_fail(file: Path) -> None:
    file.write_text(GOOD.replace("some-model", "other-model"))
    result = run("check", file)
    assert result.exit_code == 0
    assert "13:23: warning: loops.p1.diagnose.model" in result.output


def test_json_holds_the_same_for_programs(file: Path) -> None:
    file.write_text(GOOD.replace("max_age", "max_ag"))
    result = run("check", "--json", file)
    report = json.loads(result.output)
    assert (result.exit_code, report["ok"]) == (78, False)
    (problem,) = report["files"][0]["problems"]
    assert (problem["line"], problem["column"], problem["length"]) == (6, 62, 6)
    assert (problem["path"], problem["cure"]) == ("tags.flow.max_ag", "did you mean `max_age`?")
    file.write_text(GOOD)
    report = json.loads(run("check", "--json", file).output)
    assert (report["ok"], len(report["files"][0]["hash"])) == (True, 64)


def test_the_effective_configuration_has_defaults_and_is_right_itself(file: Path, tmp_path: Path) -> None:
    result = run("check", "--effective", file)
    assert "max_gap: 3 s" in result.output
    again = tmp_path / "again.yaml"
    again.write_text(result.output)
    assert load(again).hash == load(file).hash


def test_a_file_that_is_not_there_is_exit_78_without_a_traceback(tmp_path: Path) -> None:
    result = run("check", tmp_path / "no.yaml")
    assert result.exit_code == 78
    assert "cannot be read" in result.output


def test_no_file_is_a_usage_error() -> None:
    assert run("check").exit_code == 2


def test_many_findings_are_cut_short(file: Path) -> None:
    file.write_text(GOOD + "".join(f"  l{i}: 5\n" for i in range(70)))
    assert "... and 20 more; --json shows all" in run("check", file).output


def test_checking_is_quick(file: Path) -> None:
    run("check", file)
    before = time.process_time()
    run("check", file)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize(
    "options",
    [[], ["--opcua", "opc.tcp://10.0.0.5:4840"], ["--mqtt", "mqtt://10.0.0.6"], ["--opcua", "opc.tcp://x:1", "--mqtt", "mqtts://y"]],
)
def test_init_writes_what_check_accepts(options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    assert run("init", file, *options).exit_code == 0
    text = file.read_text()
    assert text.startswith("# yaml-language-server: $schema=./edge-agent.schema.json\n")
    assert all(option in text for option in options[1::2])
    result = run("check", file)
    assert result.exit_code == 0, result.output
    assert "nothing may be written" in result.output
    assert json.loads((tmp_path / "edge-agent.schema.json").read_text())["properties"]["agent"]
    head, _, loops = text.partition("# loops:")
    file.write_text(head + "loops:" + loops.replace("\n# ", "\n"))
    assert "1 loop; nothing may be written" in run("check", file).output


def test_init_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    file.write_text("mine\n")
    result = run("init", file)
    assert result.exit_code == 1
    assert "exists already; nothing was changed" in result.output
    assert file.read_text() == "mine\n"


def test_init_refuses_an_address_that_check_would_refuse(tmp_path: Path) -> None:
    result = run("init", tmp_path / "first.yaml", "--opcua", "10.0.0.5")
    assert isinstance(result.exception, ConfigError)  # `main` prints it and exits 78
    assert "no OPC UA address" in str(result.exception)
    assert not (tmp_path / "first.yaml").exists()


def test_schema_prints_json_and_the_page() -> None:
    assert json.loads(run("schema").output)["title"] == "edge-agent configuration"
    assert run("schema", "--docs").output.startswith("# Configuration")


def test_schema_writes_both_files_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("schema", "--write").exit_code == 2
    (tmp_path / "configs").mkdir()
    (tmp_path / "docs").mkdir()
    assert run("schema", "--write").exit_code == 0
    assert (tmp_path / "configs" / "edge-agent.schema.json").exists()
    assert (tmp_path / "docs" / "config.md").exists()
