"""Types, status codes and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.messages import Quality
from edge_agent.opcua.encode import Unfit, fit
from edge_agent.opcua.values import INTEGER_RANGES, code_name, nanoseconds, quality_of, same, value_of


@pytest.mark.parametrize(
    ("code", "quality"),
    [
        (0, Quality.GOOD),
        (ua.StatusCodes.GoodClamped, Quality.GOOD),
        (ua.StatusCodes.UncertainLastUsableValue, Quality.UNCERTAIN),
        (ua.StatusCodes.BadSensorFailure, Quality.BAD),
        (0xC0000000, Quality.BAD),  # reserved: treated as Bad
        (0x00000480, Quality.OVERFLOW),
        (0x40000480, Quality.UNCERTAIN | Quality.OVERFLOW),
        (0x00000080, Quality.GOOD),  # the overflow bit counts only with InfoType DataValue
    ],
)
def test_severity_and_overflow_are_read_from_the_bits(code: int, quality: Quality) -> None:
    assert quality_of(code) == quality


def test_codes_are_named_without_their_info_bits() -> None:
    assert code_name(ua.StatusCodes.BadSensorFailure | 0x480) == "BadSensorFailure"
    assert code_name(0x80FE0000) == "0x80FE0000"


@pytest.mark.parametrize(
    ("variant", "value"),
    [
        (ua.Variant(1.5, ua.VariantType.Double), 1.5),
        (ua.Variant(-3, ua.VariantType.Int16), -3),
        (ua.Variant(2**63, ua.VariantType.UInt64), 2**63),
        (ua.Variant(True, ua.VariantType.Boolean), True),
        (ua.Variant("A", ua.VariantType.String), "A"),
        (ua.Variant(ua.LocalizedText("läuft"), ua.VariantType.LocalizedText), "läuft"),
    ],
)
def test_scalars_keep_their_kind(variant: Any, value: Any) -> None:
    got, flaw = value_of(variant, 0)
    assert (got, type(got), flaw) == (value, type(value), 0)


def test_number_arrays_become_float32_and_matrices_are_laid_out_row_by_row() -> None:
    got, flaw = value_of(ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32), 0)
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.tolist(), flaw) == (np.float32, [1, 2, 3, 4], 0)


def test_one_element_of_an_array_is_a_scalar_only_where_it_was_asked_for() -> None:
    variant = ua.Variant([7.0], ua.VariantType.Double)
    assert value_of(variant, 0, element=True) == (7.0, 0)
    assert isinstance(value_of(variant, 0)[0], np.ndarray)


@pytest.mark.parametrize(
    "variant", [ua.Variant(b"x", ua.VariantType.ByteString), ua.Variant(["a"], ua.VariantType.String), ua.Variant(None)]
)
def test_what_means_nothing_to_us_is_a_type_flaw(variant: Any) -> None:
    assert value_of(variant, 0) == (None, Quality.TYPE)


def test_no_value_with_a_bad_status_is_no_type_flaw() -> None:
    assert value_of(ua.Variant(None), ua.StatusCodes.BadNoData) == (None, 0)


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_keep_their_microseconds(us: int) -> None:
    assert nanoseconds(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)) == us * 1000


def test_no_time_and_times_before_1970_are_zero() -> None:
    assert nanoseconds(None) == 0
    assert nanoseconds(datetime(1601, 1, 1, tzinfo=UTC)) == 0
    assert nanoseconds(datetime(2026, 1, 1)) == nanoseconds(datetime(2026, 1, 1, tzinfo=UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "equal"),
    [
        (1.0, 1.5, 0.5, True),
        (1.0, 1.6, 0.5, False),
        (float("nan"), float("nan"), 0, True),
        ("a", "a", 0, True),
        (None, 1.0, 0, False),
        (np.array([1.0]), np.array([1.0]), 0, True),
        (np.array([1.0]), 1.0, 0, False),
    ],
)
def test_sameness_within_a_dead_band(a: Any, b: Any, tolerance: float, equal: bool) -> None:
    assert same(a, b, tolerance) is equal


@given(st.sampled_from(sorted(INTEGER_RANGES)), st.integers(-(2**70), 2**70))
def test_an_integer_fits_exactly_or_not_at_all(kind: int, value: int) -> None:
    low, high = INTEGER_RANGES[kind]
    if low <= value <= high:
        assert fit(value, kind, "x") == value
    else:
        with pytest.raises(Unfit):
            fit(value, kind, "x")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.5, 4),
        (True, 4),
        (1, 1),
        ("1", 11),
        (1, 12),
        (True, 12),
        ("x", 1),
        (float("nan"), 11),
        (float("inf"), 10),
        (1e39, 10),
        (float("inf"), 4),
        (1, 13),
        (1.0, 0),
    ],
)
def test_nothing_is_rounded_converted_or_guessed(value: Any, kind: int) -> None:
    with pytest.raises(Unfit):
        fit(value, kind, "x")


def test_whole_floats_and_whole_numbers_change_places() -> None:
    assert (fit(5.0, 4, "Int16"), type(fit(5.0, 4, "Int16"))) == (5, int)
    assert (fit(5, 11, "Double"), type(fit(5, 11, "Double"))) == (5.0, float)
