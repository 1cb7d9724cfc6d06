"""Numbers, sameness, and what a device's type can carry."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.execute.gate.values import at_most, between, carries, identical, multiple, number, same

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [True, False, None, "1", NAN, INF, -INF, 2**53 + 1, -(2**53) - 1, 10**400, [1], (1,), b"1", 1j])
def test_what_is_no_plain_finite_number_is_no_number(value: Any) -> None:
    assert number(value) is None


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0.0), (-0.0, 0.0), (1.5, 1.5), (2**53, 2.0**53), (-(2**53), -(2.0**53)), (1e308, 1e308)]
)
def test_what_is_a_number(value: Any, expected: float) -> None:
    assert number(value) == expected
    assert type(number(value)) is float


def test_a_subclass_of_float_is_not_taken_for_one() -> None:
    class Sly(float):
        pass

    assert number(Sly(1.0)) is None


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "expected"),
    [
        (1.0, 1, 0.0, True),
        (1.0, 1.5, 0.5, True),
        (1.5, 1.0, 0.5, True),
        (1.0, 1.51, 0.5, False),
        (1.0, 1.0, NAN, False),
        (NAN, NAN, 1.0, False),
        (INF, INF, 1.0, False),
        (True, 1, 1.0, False),
        (True, True, 0.0, True),
        (True, False, 1.0, False),
        ("a", "a", 0.0, True),
        ("a", "b", 9.0, False),
        ("1", 1, 9.0, False),
        (None, None, 9.0, False),
        ((1,), (1,), 9.0, False),
    ],
)
def test_sameness(left: Any, right: Any, tolerance: float, expected: bool) -> None:
    assert same(left, right, tolerance) is expected


def test_rounding_noise_is_forgiven_but_no_more() -> None:
    assert at_most(0.1 + 0.2, 0.3)
    assert at_most(1e-12, 0.0)
    assert not at_most(1.1e-12, 0.0)
    assert at_most(1e9 + 1.0, 1e9)
    assert not at_most(1e9 + 1.1, 1e9)
    assert at_most(-1e9 + 1.0, -1e9)
    assert not at_most(NAN, 1.0)
    assert not at_most(1.0, NAN)


def test_between_knows_both_directions_and_both_ends() -> None:
    assert all(between(value, 1.0, 3.0) and between(value, 3.0, 1.0) for value in (1.0, 2.0, 3.0))
    assert not any(between(value, 1.0, 3.0) or between(value, 3.0, 1.0) for value in (0.9, 3.1, NAN))


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (30.0, 10.0, True),
        (0.3, 0.1, True),
        (-0.0, 10.0, True),
        (25.0, 10.0, False),
        (30.000009, 10.0, True),
        (30.0001, 10.0, False),
        (2.0**53, 1.0, True),
        (1e300, 1e-300, False),
        (2.0**54, 1.0, False),
        (-30.0, 10.0, True),
        (-(2.0**54), 1.0, False),
        (29.999991, 10.0, True),
        (2.0**53 + 2, 1.0, False),
    ],
)
def test_multiples(value: float, step: float, expected: bool) -> None:
    assert multiple(value, step) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (True, 1, False),
        ("a", "a", True),
        ((1, "a"), (1, "a"), True),
        ((1,), (True,), False),
        ((1,), (1, 2), False),
        ((1, 2), (1,), False),
        ((), (), True),
        ((1,), 1, False),
        (1, (1,), False),
        (NAN, NAN, False),
        ((1, 2), (1, 3), False),
    ],
)
def test_identity(left: Any, right: Any, expected: bool) -> None:
    assert identical(left, right) is expected


_RANGES = {
    "SByte": (-128, 127), "Byte": (0, 255), "Int8": (-128, 127), "UInt8": (0, 255), "Int16": (-32768, 32767), "UInt16": (0, 65535),
    "Int32": (-(2**31), 2**31 - 1), "UInt32": (0, 2**32 - 1), "i16": (-32768, 32767), "u16": (0, 65535), "i8": (-128, 127), "u8": (0, 255),
    "i32": (-(2**31), 2**31 - 1), "u32": (0, 2**32 - 1),
}  # fmt: skip


@pytest.mark.parametrize(("name", "ends"), _RANGES.items())
def test_whole_types_carry_their_range_and_no_fractions(name: str, ends: tuple[int, int]) -> None:
    low, high = ends
    assert carries(name, low)
    assert carries(name, float(high))
    assert not carries(name, low - 1)
    assert not carries(name, high + 1)
    assert not carries(name, 0.5)
    assert not carries(name, True)


@pytest.mark.parametrize("name", ["Int64", "UInt64", "i64", "u64", "Integer"])
def test_the_widest_types_carry_what_a_float_holds_exactly(name: str) -> None:
    assert carries(name, 2**53)
    assert carries(name, 0)
    assert not carries(name, 2**53 + 1)
    assert carries(name, -1) == (not name.lower().startswith("u"))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Float", 1.5, True),
        ("Double", 1, "1"),
        ("number", 0.0, NAN),
        ("f32", 1.0, None),
        ("f64", 1.0, None),
        ("Boolean", True, 1),
        ("bool", False, 0.0),
        ("String", "a", 1),
        ("str", "", None),
        ("text", "a", True),
    ],
)
def test_the_other_types(name: str, good: Any, bad: Any) -> None:
    assert carries(name, good)
    assert not carries(name, bad)


def test_a_device_that_does_not_say_leaves_it_to_the_configuration_and_an_unknown_type_carries_nothing() -> None:
    assert carries("json", 1.0)
    assert carries("mqtt", True)
    assert carries("method", "a")
    for name in ("Enumeration", "", None, 5):
        assert not carries(name, 1.0)
