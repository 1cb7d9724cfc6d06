"""Does a page read well: round numbers at the axes, moods as words, nothing loaded?"""

import pytest

from edge_agent.lab import page, svg


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0, 0.25, 0.5, 0.75, 1.0]),
        ([3.0, 97.0], [0, 25, 50, 75, 100]),
        ([0.0036, 0.788], [0, 0.2, 0.4, 0.6, 0.8]),
        ([5.0, 5.0], [4.5, 4.75, 5, 5.25, 5.5]),
    ],
)
def test_axes_have_round_numbers_that_hold_all_values(values: list[float], ticks: list[float]) -> None:
    assert svg.ticks(values) == pytest.approx(ticks)


def test_a_mood_is_a_word_not_only_a_colour() -> None:
    made = page.table(["", "check"], [(page.Pill("REFUSED", "bad"), "weights")])
    assert '<span class="pill bad">REFUSED</span>' in made


def test_numbers_and_their_heads_stand_to_the_right() -> None:
    made = page.table(["name", "value"], [("f1", "0.9751"), ("delay", 5)])
    assert '<th class="n">value</th>' in made
    assert '<td class="n">0.9751</td>' in made
    assert '<td class="">f1</td>' in made


def test_nothing_may_be_loaded_and_texts_are_escaped() -> None:
    made = page.page("<b>", ("FIT", "good", "a & b"), [page.section("empty"), page.facts({"<i>": "<u>"})])
    assert "default-src 'none'" in made
    assert "<b>" not in made.replace("<b>", "", 0).split("<main>")[0].replace("&lt;b&gt;", "")
    assert "&lt;u&gt;" in made
    assert "<section>" not in made, "what is empty is left out"
