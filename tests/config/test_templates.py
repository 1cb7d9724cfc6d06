"""One pump becomes two hundred."""

from collections.abc import Callable

import pytest

from edge_agent.config import templates, yaml
from edge_agent.config.tree import Mapping, plain
from edge_agent.errors import Problem

Expand = Callable[[str], tuple[dict[str, object], list[Problem]]]

HEAD = """\
templates:
  pump:
    params: [id, most]
    defaults: {most: 60}
    tags:
      "${id}_flow": {node: "s=${id}.Flow", range: [0, "${most}"]}
"""


def _expand(text: str) -> tuple[dict[str, dict[str, object]], list[Problem]]:
    root, problems = yaml.read(text, "a.yaml")
    assert isinstance(root, Mapping), problems
    whole, problems = templates.expand(root, "a.yaml", limit=100_000)
    return plain(whole), problems


def test_a_use_makes_one_copy() -> None:
    whole, problems = _expand(HEAD + "use: [{template: pump, with: {id: p1}}]\n")
    assert not problems
    assert whole == {"tags": {"p1_flow": {"node": "s=p1.Flow", "range": [0, 60]}}}


def test_a_value_that_stands_alone_keeps_its_type() -> None:
    whole, _ = _expand(HEAD + "use: [{template: pump, with: {id: 7, most: 2.5}}, {template: pump, with: {id: p2, most: '5'}}]\n")
    assert whole["tags"]["7_flow"] == {"node": "s=7.Flow", "range": [0, 2.5]}
    assert whole["tags"]["p2_flow"] == {"node": "s=p2.Flow", "range": [0, "5"]}


def test_a_list_may_stand_alone_but_not_inside_a_text() -> None:
    whole, problems = _expand(HEAD + "use: [{template: pump, with: {id: p1, most: [1, 2]}}]\n")
    assert whole["tags"]["p1_flow"]["range"] == [0, [1, 2]]  # type: ignore[index]
    _, problems = _expand(HEAD + "use: [{template: pump, with: {id: [p1]}}]\n")
    assert "cannot be part of a text" in problems[0].what


def test_a_list_of_rows_makes_a_copy_of_each() -> None:
    whole, _ = _expand(HEAD + "use:\n  - template: pump\n    with: [{id: a}, {id: b, most: 9}]\n")
    assert list(whole["tags"]) == ["a_flow", "b_flow"]


def test_each_runs_through_every_combination() -> None:
    whole, _ = _expand(HEAD + 'use: [{template: pump, each: {line: [x, y], n: 1..3}, with: {id: "${line}${n}"}}]\n')
    assert list(whole["tags"]) == [f"{line}{n}_flow" for line in "xy" for n in (1, 2, 3)]


def test_a_range_with_a_leading_zero_keeps_its_width() -> None:
    whole, _ = _expand(HEAD + 'use: [{template: pump, each: {n: 08..11}, with: {id: "p${n}"}}]\n')
    assert list(whole["tags"]) == ["p08_flow", "p09_flow", "p10_flow", "p11_flow"]


def test_a_name_of_each_may_be_a_parameter_itself() -> None:
    whole, _ = _expand(HEAD + "use: [{template: pump, each: {id: [a, b]}}]\n")
    assert list(whole["tags"]) == ["a_flow", "b_flow"]


def test_a_value_cannot_smuggle_in_yaml() -> None:
    whole, _ = _expand(HEAD + 'use: [{template: pump, with: {id: "x}, write: true, y: {"}}]\n')
    assert list(whole["tags"]) == ["x}, write: true, y: {_flow"]


def test_a_doubled_dollar_means_itself_in_templates_and_outside() -> None:
    text = HEAD.replace("s=${id}.Flow", "s=$${id}${id}") + 'use: [{template: pump, with: {id: p1}}]\nagent: {site: "$${x}"}\n'
    whole, problems = _expand(text)
    assert not problems
    assert whole["tags"]["p1_flow"]["node"] == "s=${id}p1"  # type: ignore[index]
    assert whole["agent"] == {"site": "${x}"}


def test_copies_join_what_stands_there_already() -> None:
    whole, _ = _expand(HEAD + "use: [{template: pump, with: {id: p1}}]\ntags: {own: {}}\n")
    assert list(whole["tags"]) == ["own", "p1_flow"]


@pytest.mark.parametrize(
    ("old", "new", "place", "what", "cure"),
    [
        ("params: [id, most]", "params: [id, most, node]", (3, 24), "the parameter `node` is never used", "${node}"),
        ("s=${id}.Flow", "s=${idd}.Flow", (6, 28), "`${idd}` is not a parameter", "`id`"),
        ("defaults: {most", "defaults: {mots", (4, 16), "`mots` is not a parameter", "`most`"),
        ("{id: p1}", "{}", (7, 30), "the parameter `id` is missing", "add `id:`"),
        ("{id: p1}", "{id: p1, mst: 5}", (7, 39), "`mst` is not a parameter", "`most`"),
        ("use: [{template: pump", "use: [{template: pmup", (7, 18), "no template `pmup`", "`pump`"),
        ("with: {id: p1}", "each: {n: 1..3}, with: {id: p1}", (7, 31), "`n` is never used", "`with`"),
        ("with: {id: p1}", 'each: {n: 3..1}, with: {id: "p${n}"}', (7, 34), "runs over 0", ""),
        ("with: {id: p1}", 'each: {n: 1-3}, with: {id: "p${n}"}', (7, 34), "not a range", "1..12"),
        ("with: {id: p1}", 'each: {n: 1..999999}, with: {id: "p${n}"}', (7, 34), "999999 numbers", ""),
        ("with: {id: p1}", 'with: {id: "p${n}"}', (7, 35), "`${n}` is not known here", "each"),
        ("template: pump, ", "", (7, 7), "`template` is missing", ""),
        ("params: [id, most]", "parms: [id, most]", (3, 5), "unknown key `parms`", "`params`"),
    ],
)
def test_what_is_wrong_with_a_template_or_a_use_is_told(old: str, new: str, place: tuple[int, int], what: str, cure: str) -> None:
    text = HEAD + "use: [{template: pump, with: {id: p1}}]\n"
    assert old in text
    _, problems = _expand(text.replace(old, new))
    assert len(problems) == 1, problems
    assert (problems[0].line, problems[0].column) == place
    assert what in problems[0].what
    assert cure in problems[0].cure


def test_two_copies_of_one_name_are_told_with_the_line_of_the_first() -> None:
    _, problems = _expand(HEAD + "use:\n  - {template: pump, with: {id: p1}}\n  - {template: pump, with: {id: p1}}\n")
    assert [(p.path, p.what, p.use and p.use[0]) for p in problems] == [("tags.p1_flow", "`p1_flow` exists already, from line 6", 9)]


def test_too_many_copies_end_at_once() -> None:
    _, problems = _expand(HEAD + 'use: [{template: pump, each: {a: 1..999, b: 1..999}, with: {id: "p${a}x${b}"}}]\n')
    assert "998001 copies are too many" in problems[0].what


def test_a_mistake_in_a_template_is_told_once_with_its_line_and_the_use(wrong: Callable[[str], list[Problem]], good: str) -> None:
    text = good + (
        "templates:\n"
        "  extra:\n"
        "    params: [id]\n"
        "    tags:\n"
        '      "${id}_t": {from: plc, node: "nsu=x;s=${id}", max_age: 3}\n'
        "use:\n"
        "  - {template: extra, each: {id: [a, b, c]}}\n"
    )
    line = good.count("\n") + 5
    (problem,) = wrong(text)
    assert (problem.line, problem.path) == (line, "tags.a_t.max_age")
    assert problem.use == (line + 2, 1)
    assert problem.what == "3 has no unit; did you mean '3 s'? (and in 2 more copies)"
    assert str(problem).endswith(f"(template used at line {line + 2})")
