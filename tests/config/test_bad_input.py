"""Every kind of broken configuration by name: one line each, with its place and its cure, and nothing is started."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.config.load import load
from edge_agent.errors import ConfigError, Problem

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

# name -> (what stands in the right configuration, what stands there instead, place, path, part of what is said, part of the cure)
KINDS = {
    "unknown key": ("max_age: 3 s}\n  running", "max_ag: 3 s}\n  running", "7:83", "tags.flow.max_ag", "unknown key", "`max_age`"),
    "misspelled link": ("perceive:", "percieve:", "15:5", "loops.p1.percieve", "unknown key", "`perceive`"),
    "missing key": ("owner: acme", "", "2:1", "agent.owner", "missing", "add `owner`"),
    "wrong unit": ("every: 1 s", "every: 1 sec", "15:42", "loops.p1.perceive.every", "'1 sec' is not understood", "5 s"),
    "no unit on a duration": ("every: 1 s", "every: 1", "15:42", "loops.p1.perceive.every", "has no unit", "'1 s'"),
    "wrong rate": ("rate: 50/min", "rate: 50", "27:15", "loops.p1.execute.speed.rate", "is not a rate", "50/min"),
    "duplicate key": ("    tier: 1\n", "    tier: 1\n    mode: armed\n", "15:5", "loops.p1.mode", "twice", "keep one"),
    "limits reversed": ("[-300, 300]", "[300, -300]", "25:9", "loops.p1.execute.speed.limits", "not below", "[-300, 300]"),
    "limits missing": ("limits: [-300, 300]", "per_hour: 3", "24:7", "loops.p1.execute.speed", "nothing could ever be written", "limits"),
    "limits beyond the range": ("unit: rpm,", "unit: rpm, range: [0, 100],", "25:9", "loops.p1.execute.speed.limits", "beyond", "narrow"),
    "neutral outside the limits": ("step: 10", "neutral: 400", "26:18", "loops.p1.execute.speed.neutral", "outside", "return"),
    "step larger than the limits": ("step: 10", "step: 1000", "26:15", "loops.p1.execute.speed.step", "larger", "smaller"),
    "no speed": ("rate: 50/min", "per_hour: 3", "24:7", "loops.p1.execute.speed", "neither `rate` nor `max_step`", "50/min"),
    "useless tolerance": ("tolerance: 1", "tolerance: 600", "29:42", "loops.p1.execute.speed.verify.tolerance", "would pass", "smaller"),
    "unknown tag in a loop": ("[flow, vib]", "[flow, vibe]", "15:29", "loops.p1.perceive.tags[1]", "no tag `vibe`", "`vib`"),
    "unknown tag in an interlock": ("running and", "runing and", "28:23", "loops.p1.execute.speed.interlocks[0]", "'runing'", "'running'"),
    "unknown tag in a rule": (
        '"score > 0.8"',
        '"score > 0.8 and flwo > 3"',
        "20:42",
        "loops.p1.decide.states.normal[0].when",
        "'flwo'",
        "'flow'",
    ),
    "unknown tag in an action": ("{speed: -200}", "{sped: -200}", "22:33", "loops.p1.decide.actions.relief.trim.sped", "'sped'", "'speed'"),
    "unknown state in a rule": ("go: relief", "go: releif", "20:54", "loops.p1.decide.states.normal[0].go", "'releif'", "'relief'"),
    "broken expression": ("running and flow > 3", "running and", "28:", "loops.p1.execute.speed.interlocks[0]", "missing", ""),
    "unknown response tag": ("tag: flow,", "tag: flaw,", "30:25", "loops.p1.execute.speed.response.tag", "no tag `flaw`", "`flow`"),
    "unknown written tag": ("      speed:\n", "      sped:\n", "24:7", "loops.p1.execute.sped", "no tag `sped`", "`speed`"),
    "tag that may not be written": (", write: true", "", "24:7", "loops.p1.execute.speed", "may not be written", "write: true"),
    "safety-tagged node": ("write: true", "write: true, safety: true", "24:7", "loops.p1.execute.speed", "safety", "safety controller"),
    "tier 3": ("tier: 1", "tier: 3", "14:11", "loops.p1.tier", "not a safety function", "safety controller"),
    "armed without a tier": ("advise\n    tier: 1", "armed\n    tier: 0", "13:11", "loops.p1.mode", "tier 0 never writes", "tier: 1"),
    "NaN": ("window: 60", "window: .nan", "15:55", "loops.p1.perceive.window", ".nan is not a number", "leave the key out"),
    ".inf": ("[0, 60]", "[0, .inf]", "7:78", "tags.flow.range[1]", ".inf is not a number", "leave the key out"),
    "a number too large": ("[0, 60]", "[0, 1e309]", "7:78", "tags.flow.range[1]", "too large", "1e308"),
    "NO": ("write: true", "write: NO", "10:78", "tags.speed.write", "'NO' is not true or false", "write true or false"),
    "22:30": (
        "window: 60",
        "window: 22:30",
        "15:55",
        "loops.p1.perceive.window",
        "'22:30' is not a whole number",
        "a whole number, like 10",
    ),
    "octal": ("window: 60", "window: 010", "15:55", "loops.p1.perceive.window", "starts with a zero", "write 10"),
    "wrong type": ("tags: [flow, vib]", "tags: flow", "15:22", "loops.p1.perceive.tags", "is not a list", "[a, b]"),
    "a number with its unit": ("[0, 60]", "[0, 60 l/min]", "7:78", "tags.flow.range[1]", "is not a number", "write the number alone: 60"),
    "wrong word": ("mode: advise", "mode: advice", "13:11", "loops.p1.mode", "not allowed", "`advise`"),
    "name that is none": ("  flow: {from", "  1flow: {from", "7:3", "tags.1flow", "cannot be a name", "`flow`"),
    "unknown connector type": ("type: mqtt", "type: mqqt", "5:15", "connectors.bus.type", "no connector is called `mqqt`", "`mqtt`"),
    "unknown policy": ("policy: rules", "policy: rulez", "18:15", "loops.p1.decide.policy", "no policy is called `rulez`", "`rules`"),
    "tag from an unknown connector": ("vib: {from: bus", "vib: {from: buss", "9:15", "tags.vib.from", "no connector `buss`", "`bus`"),
    "units that cannot be converted": ("unit: rpm", "unit: rpm, source_unit: bar", "10:84", "tags.speed.source_unit", "cannot convert", ""),
    "a missing secret": (
        'url: "mqtt',
        'user: u, password: !secret bus_pw, url: "mqtt',
        "5:40",
        "connectors.bus.password",
        "bus_pw",
        "CREDENTIALS",
    ),
    "a secret that would be shown": ('"mqtt://127.0.0.1:1883"', "!secret url", "5:26", "connectors.bus.url", "secret url", "CREDENTIALS"),
    "an unset variable": ('"mqtt://127.0.0.1:1883"', "!env BUS", "5:26", "connectors.bus.url", "BUS is not set", "set BUS"),
    "an unknown tag of YAML": ('"mqtt://127.0.0.1:1883"', "!include x", "5:26", "connectors.bus.url", "!include", "!secret"),
    "tab indentation": ("    mode: advise", "\tmode: advise", "13:1", "", "tab", "spaces"),
    "bracket not closed": ("[flow, vib]", "[flow, vib", "15:22", "", "not closed", "']'"),
    "a template's word outside": ("site: jinan", 'site: "${place}"', "2:30", "agent.site", "${place}", "!env"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told_with_place_and_cure(kind: str, wrong: Callable[..., list[Problem]]) -> None:
    old, new, place, path, what, cure = KINDS[kind]
    problems = wrong(old, new)
    told = [p for p in problems if f"{p.line}:{p.column}".startswith(place) and p.path == path]
    assert told, "\n".join(map(str, problems))
    assert what in told[0].what
    assert cure in f"{told[0].what} {told[0].cure}"
    assert all("\n" not in str(p) for p in problems)
    assert all(p.line for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("diagnose: {model: some-model}", "diagnose: {model: some-model, timeout: 0 s}", "loops.p1.diagnose.timeout"),
        ("within: 2 s", "within: 0 s", "loops.p1.execute.speed.verify.within"),
        ("within: 20 s", "within: 0 s", "loops.p1.execute.speed.response.within"),
        ("step: 10", "budget: {change: 100, per: 0 s}", "loops.p1.execute.speed.budget.per"),
        ("step: 10", "drift: {change: 100, per: 0 s}", "loops.p1.execute.speed.drift.per"),
        ("step: 10", "lease: {tag: beat, every: 0 s}", "loops.p1.execute.speed.lease.every"),
        ("step: 10", "min_interval: 0 s", "loops.p1.execute.speed.min_interval"),
        ("max_age: 3 s}\n  running", "max_age: 0 s}\n  running", "tags.flow.max_age"),
        ("max_age: 3 s}\n  running", "max_flat: 0 s}\n  running", "tags.flow.max_flat"),
        ("window: 60}", "window: 60, cycle: {start: running, stop: running, longest: 0 s}}", "loops.p1.perceive.cycle.longest"),
    ],
)
def test_no_time_at_all_is_refused_where_it_could_only_fail(wrong: Callable[..., list[Problem]], old: str, new: str, path: str) -> None:
    (told,) = [problem for problem in wrong(old, new) if problem.path == path]
    assert "above 0" in f"{told.what} {told.cure}"


def test_the_heartbeat_counts_in_a_tag_of_its_own(wrong: Callable[..., list[Problem]]) -> None:
    problem = wrong("step: 10", "lease: {tag: speed}")[0]
    assert problem.path == "loops.p1.execute.speed.lease.tag"
    assert "the heartbeat would overwrite" in problem.what


@pytest.mark.parametrize("key", ["state", "stop_file"])
def test_a_folder_that_depends_on_where_a_program_was_started_is_refused(wrong: Callable[..., list[Problem]], key: str) -> None:
    problem = wrong("owner: acme", f"owner: acme, {key}: here/it")[0]
    assert problem.path == f"agent.{key}"
    assert "absolute" in f"{problem.what} {problem.cure}"


def test_two_loops_that_write_one_tag_are_refused(wrong: Callable[..., list[Problem]], good: str) -> None:
    loop = good[good.index("  p1:\n") :].replace("  p1:", "  p2:", 1)
    problem = wrong(good + loop)[0]
    assert (problem.path, problem.line) == ("loops.p2.execute.speed", 43)
    assert "written by the loop `p1` already" in problem.what


def test_all_problems_are_told_at_once_and_in_order(wrong: Callable[..., list[Problem]], good: str) -> None:
    text = (
        good.replace("every: 1 s", "every: 1")
        .replace("rate: 50/min", "rate: 50")
        .replace("type: mqtt", "type: mqqt")
        .replace("tier: 1", "tier: 3")
    )
    problems = wrong(text)
    assert [p.path for p in problems] == ["connectors.bus.type", "loops.p1.tier", "loops.p1.perceive.every", "loops.p1.execute.speed.rate"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("just words", "not a configuration"),
        ("- a\n- b\n", "not a configuration"),
        ("[" * 20_000, "nested more than"),
        ("- " * 20_000, "nested more than"),
        ("{" * 20_000, "single word"),
        ("a: " * 20_000, "':'"),
        (BOMB, "once aliases are put in"),
        ("&a [*a]", "inside itself"),
        ("a: &a {b: *a}", "inside itself"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("a: \x07", "does not allow"),
        ("? [a, b]\n: c\n", "single word"),
        ("!!python/object/apply:os.system [ls]", "is not known"),
        ("a: 1\n" * 50_000, "twice"),
        ("x" * 5_000_000, "too large"),
    ],
    ids=lambda value: value[:20],
)
def test_a_text_that_is_no_configuration_ends_at_once(text: str, said: str, wrong: Callable[..., list[Problem]]) -> None:
    before = time.process_time()
    problems = wrong(text)
    assert any(said in problem.what for problem in problems)
    assert time.process_time() - before < 0.5
    assert len(problems) <= 101


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)), "does not allow|not UTF-8"),
        ("größe: 1".encode("latin-1"), "not UTF-8"),
        (b"a: 1\n" * 2_500_000, "larger than"),
    ],
    ids=["binary file", "latin-1", "12 MB file"],
)
def test_a_file_that_is_no_text_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load(file)
    assert len(caught.value.problems) == 1


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
