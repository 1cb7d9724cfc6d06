"""Words with a unit become SI numbers, and come out again as words."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge_agent.config.types import Duration, Frequency, Rate, Share, Size


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (Duration, "200 ms", 0.2),
        (Duration, "5s", 5.0),
        (Duration, " 8 h ", 28800.0),
        (Duration, "0 s", 0.0),
        (Frequency, "25.6 kHz", 25600.0),
        (Size, "2 GiB", 2 * 1024**3),
        (Rate, "50/min", 50 / 60),
        (Rate, "50 / min", 50 / 60),
        (Share, "1%", 0.01),
        (Share, 0.5, 0.5),
        (Share, 1, 1.0),
    ],
)
def test_a_word_becomes_an_si_number(kind: Any, word: object, value: float) -> None:
    assert TypeAdapter(kind).validate_python(word) == value


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Duration, 5), (Duration, "5"), (Duration, "5 sec"), (Duration, "-5 s"), (Duration, "1e3 s"), (Duration, "5 s s"), (Duration, True),
        (Duration, None), (Duration, "5 S"), (Duration, "inf s"), (Frequency, "5 s"), (Size, "5 gb"), (Rate, 50), (Rate, "50"),
        (Rate, "50/ms"),         (Share, "101%"), (Share, 1.1), (Share, -0.1), (Share, True), (Share, "half"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(kind: Any, word: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(word)


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_a_number_comes_out_as_a_word_that_means_it(value: float) -> None:
    for kind in (Duration, Size, Frequency, Rate):
        adapter = TypeAdapter[float](kind)
        word = adapter.dump_python(value, mode="json")
        assert adapter.validate_python(word) == pytest.approx(value, rel=1e-15, abs=1e-300)


@pytest.mark.parametrize(
    ("value", "word"), [(0.2, "200 ms"), (28800.0, "8 h"), (90.0, "90 s"), (0.0, "0 s"), (1e-6, "1 us"), (1.5, "1500 ms")]
)
def test_the_word_is_the_one_a_person_would_write(value: float, word: str) -> None:
    assert TypeAdapter(Duration).dump_python(value, mode="json") == word


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (5, "5 has no unit; did you mean '5 s'?"),
        (-5, "-5 is not understood"),
        (True, "true is not understood"),
        ([1], "a list is not understood"),
    ],
)
def test_what_is_wrong_is_said_in_the_files_own_words(word: object, said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        TypeAdapter(Duration).validate_python(word)
