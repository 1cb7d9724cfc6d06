"""edge-agent test: runs the tests: block, says what was expected and what came, and exits accordingly."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli.test import command
from edge_agent.errors import ConfigError

CONFIG = """\
version: 1
agent: {name: a, owner: acme}
connectors:
  plc: {type: sim}
tags:
  flow: {from: plc, unit: l/min}
  speed: {from: plc, unit: rpm, write: true}
loops:
  p1:
    perceive: {tags: [flow], every: 1 s, window: 60}
    diagnose: {model: pump-valve}
    decide:
      policy: rules
      states: {normal: [{when: "score > 0.8", for: 5 s, go: relief}], relief: [{when: "score < 0.3", for: 30 s, go: normal}]}
      actions: {relief: {trim: {speed: -200}}}
    execute: {speed: {limits: [-300, 300], step: 10, rate: 50/min}}
tests:
"""
GOOD = """\
  - name: five seconds of trouble start the relief
    loop: p1
    given: [{at: 0 s, score: 0.2, tags: {flow: 31}}, {at: 10 s, score: 0.9}]
    expect: [{at: 14 s, state: normal, propose: {}}, {at: 15 s, state: relief, propose: {speed: -200}}]
"""
WRONG = """\
  - name: three seconds are enough
    loop: p1
    given: [{score: 0.9}]
    expect: [{at: 3 s, state: relief}]
"""
BROKEN = """\
  - name: broken
    loop: p2
    given: [{scor: 0.9}]
    expect: [{at: 3 s, state: relief, propose: {speeed: 1}}]
"""


def config(folder: Path, *tests: str) -> str:
    file = folder / "pump.yaml"
    file.write_text(CONFIG.rstrip() + (" []\n" if not tests else "\n" + "".join(tests)))
    return str(file)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(command, args)


def test_tests_that_hold_exit_with_0(tmp_path: Path) -> None:
    result = invoke(config(tmp_path, GOOD))
    assert result.exit_code == 0
    assert "ok    five seconds of trouble start the relief" in result.output
    assert "1 passed, 0 failed" in result.output


def test_a_test_that_fails_exits_with_1_and_says_where_and_what(tmp_path: Path) -> None:
    result = invoke(config(tmp_path, GOOD, WRONG))
    assert result.exit_code == 1
    assert "failed three seconds are enough" in result.output
    assert "pump.yaml:22:" in result.output
    assert "at 3 s: state: expected relief, got normal (normal: score 0.9 > 0.8 for 3 s, needs 5 s)" in result.output
    assert "1 passed, 1 failed" in result.output


def test_only_some_and_as_json(tmp_path: Path) -> None:
    result = invoke(config(tmp_path, GOOD, WRONG), "--only", "three", "--json")
    told = json.loads(result.output)
    assert (result.exit_code, told["ok"], len(told["tests"])) == (1, False, 1)
    assert told["tests"][0]["failures"][0] | {"text": ""} == {
        "at_s": 3.0,
        "what": "state",
        "expected": "relief",
        "got": "normal",
        "reason": "normal: score 0.9 > 0.8 for 3 s, needs 5 s",
        "text": "",
    }


def test_a_configuration_without_tests_is_a_finding(tmp_path: Path) -> None:
    result = invoke(config(tmp_path))
    assert (result.exit_code, result.output) == (1, "there are no tests\n")


def test_a_broken_test_is_a_configuration_error_with_its_place(tmp_path: Path) -> None:
    result = invoke(config(tmp_path, BROKEN))
    assert isinstance(result.exception, ConfigError)
    assert "pump.yaml:20:" in str(result.exception)
    assert "scor" in str(result.exception)


def test_loops_and_tags_that_do_not_exist_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(command, [config(tmp_path, BROKEN.replace("scor:", "score:"))], catch_exceptions=False)
    assert [(p.path, p.what) for p in caught.value.problems] == [
        ("tests[0].loop", "there is no loop `p2`"),
        ("tests[0].expect[0].propose.speeed", "there is no tag `speeed`"),
    ]
