"""What YAML says: YAML 1.2's words, places, tags, merge keys and anchors."""

import pytest

from edge_agent.config import scalars, yaml
from edge_agent.config.tree import Mapping, place, plain, spell, tagged


def _values(text: str) -> object:
    root, problems = yaml.read(text, "a.yaml")
    assert root is not None, problems
    assert not problems
    return plain(root)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None),
        ("true", True), ("False", False),
        ("yes", "yes"), ("NO", "NO"), ("on", "on"), ("off", "off"), ("y", "y"),
        ("0", 0), ("-17", -17), ("+3", 3), ("0x1F", 31), ("0o17", 15),
        ("1.5", 1.5), ("-.5", -0.5), ("1.", 1.0), ("1e3", 1000.0), ("2E-3", 0.002),
        ("22:30", "22:30"), ("1_000", "1_000"), ("2024-01-31", "2024-01-31"), ("1.2.3", "1.2.3"),
        ("-", "-"), ("+", "+"), (".", "."), ("None", "None"),
    ],
)  # fmt: skip
def test_a_word_means_what_yaml_1_2_says(word: str, value: object) -> None:
    found = scalars.value(word)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("word", ["010", "-007", "00", ".inf", "-.INF", "+.Inf", ".nan", ".NaN", "1e400", "9" * 20])
def test_a_word_that_looks_like_a_number_and_is_none_is_refused(word: str) -> None:
    with pytest.raises(scalars.BadScalar) as caught:
        scalars.value(word)
    assert caught.value.cure


def test_quoted_words_are_texts() -> None:
    assert _values("a: '1'\nb: \"true\"\nc: |\n  1\nd: '010'\n") == {"a": "1", "b": "true", "c": "1\n", "d": "010"}


def test_keys_are_texts_as_they_are_written() -> None:
    assert _values("{1: a, true: b, on: c, 1.0: d, ~: e}") == {"1": "a", "true": "b", "on": "c", "1.0": "d", "~": "e"}


def test_a_key_twice_is_told_even_where_one_is_quoted() -> None:
    _, problems = yaml.read('a: 1\n"a": 2\n', "a.yaml")
    assert [str(p) for p in problems] == ["a.yaml:2:1: a: `a` stands here twice, first in line 1; keep one of them"]


def test_merged_keys_give_way_to_written_ones_and_to_earlier_ones() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\n"
    assert _values(text)["z"] == {"a": 0, "b": 1, "c": 2}  # type: ignore[index]


def test_a_merge_of_something_without_keys_is_told() -> None:
    _, problems = yaml.read("a: &a 5\nb: {<<: *a}\n", "a.yaml")
    assert "takes in keys" in problems[0].what


def test_a_quoted_merge_sign_is_a_plain_key() -> None:
    assert _values("{'<<': 1}") == {"<<": 1}


def test_every_place_is_known_for_keys_and_values() -> None:
    root, _ = yaml.read("a:\n  - b: 1\n    cc: [x, yy]\n", "a.yaml")
    spot = place(root, ("a", 0, "cc", 1))
    assert (spot.line, spot.column, spot.length) == (3, 13, 2)
    spot = place(root, ("a", 0, "cc"), key=True)
    assert (spot.line, spot.column, spot.length) == (3, 5, 2)
    spot = place(root, ("a", 0, "missing"))
    assert (spot.line, spot.column) == (2, 5)
    assert spell(("a", 0, "cc", 1)) == "a[0].cc[1]"


def test_columns_count_letters_not_bytes() -> None:
    root, _ = yaml.read("ä: {ö: ü}\n", "a.yaml")
    assert place(root, ("ä", "ö")).column == 8


def test_a_tag_keeps_its_name_and_nothing_else() -> None:
    root, _ = yaml.read("a: !secret plc\nb: [!env HOME]\n", "a.yaml")
    assert root is not None
    assert [(path, s.tag, s.value) for path, s in tagged(root)] == [(("a",), "!secret", "plc"), (("b", 0), "!env", "HOME")]
    assert plain(root) == {"a": "!secret plc", "b": ["!env HOME"]}
    assert plain(root, {"!secret plc": "x"}) == {"a": "x", "b": ["!env HOME"]}


def test_an_alias_counts_as_often_as_it_is_used() -> None:
    ten = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\n"
    root, problems = yaml.read(ten + "".join(f"b{i}: *a\n" for i in range(100)), "a.yaml")
    assert isinstance(root, Mapping)
    assert not problems
    assert root.size == 1 + 101 * 11


def test_depth_is_counted_through_aliases() -> None:
    text = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
    root, problems = yaml.read(text, "a.yaml")
    assert root is None
    assert "nested more than" in problems[0].what


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    assert _values("\ufeffa: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}


def test_two_thousand_lines_are_read_at_once() -> None:
    import time

    text = "tags:\n" + "".join(f'  k{i}: {{from: plc, node: "nsu=x;s={i}", unit: l/min, range: [0, 60]}}\n' for i in range(2100))
    before = time.process_time()
    _values(text)
    assert time.process_time() - before < 0.4  # 0.08 s here; the bound only catches another order
