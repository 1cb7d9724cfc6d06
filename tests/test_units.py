"""Units: what people and OPC UA servers write, turned into two numbers, or refused."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import units
from edge_agent.units import UNECE_NAMESPACE, engineering, factor, known, same
from edge_agent.units.table import TABLE

LINES = [(dimension, line.split()) for dimension, lines in TABLE.items() for line in lines.strip().splitlines()]
NAMES = [words[0] for _, words in LINES]


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [
        ("m³/h", "L/min", 6.0, 100.0),
        ("l/min", "l/h", 1.0, 60.0),
        ("degC", "K", 20.0, 293.15),
        ("degF", "°C", 212.0, 100.0),
        ("℃", "degF", -40.0, -40.0),
        ("bar", "psi", 1.0, 14.503773773),
        ("mbar", "kPa", 1013.25, 101.325),
        ("mm H₂O", "Pa", 1.0, 9.80665),
        ("N·m", "kNm", 5.0, 0.005),
        ("kW·h", "MJ", 1.0, 3.6),
        ("gal (US) /min", "l/min", 1.0, 3.785411784),
        ("µS/cm", "mS/m", 10.0, 1.0),
        ("Ω", "kΩ", 470.0, 0.47),
        ("HP", "kW", 1.0, 0.7456998716),
        ("rad/s", "rpm", 6.283185307, 60.0),
        ("%", "1", 50.0, 0.5),
        ("in/s", "mm/s", 1.0, 25.4),
    ],
)
def test_a_value_is_converted(source: str, target: str, value: float, expected: float) -> None:
    scale, offset = factor(source, target)
    assert value * scale + offset == pytest.approx(expected, rel=1e-9)


def test_a_spelling_with_two_meanings_takes_the_one_that_fits_the_other_side() -> None:
    assert factor("g", "m/s2").scale == 9.80665
    assert factor("g", "kg").scale == 0.001
    assert factor("1/min", "rpm").scale == 1.0
    assert factor("1/min", "Hz").scale == pytest.approx(1 / 60)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("bar", "l/min", ["'bar' (pressure)", "'l/min' (volume flow)", "m3/h"]),
        ("bar", "barg", ["gauge pressure"]),
        ("Hz", "rpm", ["frequency", "rotation"]),
        ("Nm3/h", "m3/h", ["normal volume flow"]),
        ("l/mni", "bar", ["'l/mni' is not a known unit", "did you mean 'l/min'?"]),
        ("bar", "brr", ["'brr' is not a known unit"]),
        ("MA", "A", ["did you mean 'mA'?"]),
        ("", "bar", ["'' is not a known unit", "write it like"]),
        ("§§§§", "bar", ["write it like"]),
    ],
)
def test_what_does_not_fit_is_refused_with_both_names_and_a_cure(source: str, target: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot convert") as caught:
        factor(source, target)
    assert all(word in str(caught.value) for word in [repr(source), repr(target), *words])


def test_no_two_readings_of_a_pair_of_spellings_give_different_numbers() -> None:
    spellings = {s for _, words in LINES for name in (words[0], *words[3:]) for s in (name, name.upper(), name.lower())}
    doubtful = [units._meanings(s) for s in sorted(spellings) if len(units._meanings(s)) > 1]
    assert len(doubtful) > 5
    for found, wanted in product(doubtful, doubtful):
        readings = [units._between(a, b) for a, b in product(found, wanted) if a.dimension == b.dimension]
        assert len(set(readings)) <= 1, (found, wanted)


def test_a_unit_we_do_not_know_still_equals_itself() -> None:
    assert factor("bottles", "bottles") == (1.0, 0.0)
    assert same("bottles", "bottles")
    assert not same("bottles", "crates")
    assert not known("bottles")


def test_case_matters_only_for_milli_and_mega() -> None:
    assert same("KW", "kW")
    assert same("L/MIN", "l/min")
    assert not same("mW", "MW")
    assert not known("MA")


def test_same_compares_meaning_not_spelling() -> None:
    assert same("m³/h", "m3 / h")
    assert same("rpm", "r/min")
    assert not same("degC", "K")
    assert not same("Nl/min", "l/min")


@pytest.mark.parametrize(
    ("unit_id", "display", "namespace", "expected"),
    [
        (4408652, "°C", UNECE_NAMESPACE, "degC"),
        (5067080, None, None, "m3/h"),
        (19506, "whatever", "", "l/min"),
        (18512, "HP", UNECE_NAMESPACE, "mmH2O"),
        (-1, "L/min", None, "l/min"),
        (0, "", None, None),
        (None, None, None, None),
        (None, " bottles ", None, "bottles"),
        (None, "g", None, "g"),
        (4408652, "bar", "urn:vendor", "bar"),
        (7, "kPa", UNECE_NAMESPACE, "kPa"),
        (1 << 40, "kPa", UNECE_NAMESPACE, "kPa"),
    ],
)
def test_an_opcua_unit_is_read_by_id_first_and_by_name_else(
    unit_id: int | None, display: str | None, namespace: str | None, expected: str | None
) -> None:
    assert engineering(unit_id, display, namespace) == expected


def test_long_unece_codes_are_understood_as_text() -> None:
    assert same("MQH", "m3/h")
    assert same("CEL", "degC")


def test_every_line_of_the_table_is_well_formed_and_no_code_stands_twice() -> None:
    codes = [words[2] for _, words in LINES if words[2] != "-"]
    assert len(codes) == len(set(codes))
    assert all(known(spelling) for _, words in LINES for spelling in (words[0], *words[3:]))


@given(st.sampled_from(LINES), st.sampled_from(LINES), st.floats(-1e6, 1e6))
def test_there_and_back_is_where_we_were(one: tuple[str, list[str]], other: tuple[str, list[str]], value: float) -> None:
    a, b = one[1][0], other[1][0]
    if one[0] != other[0]:
        return
    there, back = factor(a, b), factor(b, a)
    assert (value * there.scale + there.offset) * back.scale + back.offset == pytest.approx(value, rel=1e-9, abs=1e-6)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_does_anything_but_convert_or_be_refused(a: str, b: str) -> None:
    same(a, b)
    engineering(None, a)
    try:
        factor(a, b)
    except ValueError as error:
        assert "cannot convert" in str(error)
