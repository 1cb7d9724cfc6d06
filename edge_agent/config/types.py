"""Which words may stand for a value in the YAML: durations, frequencies, rates, shares; the unit is required."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic import BaseModel as _BaseModel

from edge_agent.config.words import shown

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_HERTZ = {"mHz": 1e-3, "Hz": 1.0, "kHz": 1e3, "MHz": 1e6}
_BYTES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_RATE = rf"^\s*{_NUMBER}\s*/\s*(s|min|h|d)\s*$"


class Model(_BaseModel):
    """Base of everything read from YAML: strict, no unknown keys, no NaN or infinity, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=False)


def _with_unit(units: dict[str, float], example: str) -> Any:
    pattern = re.compile(rf"{_NUMBER}\s*({'|'.join(units)})")

    def parse(value: Any) -> float:
        if isinstance(value, str) and (match := pattern.fullmatch(value.strip())):
            return float(match[1]) * units[match[2]]
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            raise ValueError(f"{value:.12g} has no unit; did you mean '{value:.12g} {example.split()[1]}'?")
        raise ValueError(f"{shown(value)} is not understood; write a number and one of {', '.join(units)}, like '{example}'")

    return parse


def _schema(units: dict[str, float], example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^\s*{_NUMBER}\s*({'|'.join(units)})\s*$", "examples": [example]})


def spell(value: float, units: Mapping[str, float], *, joint: str = " ") -> str:
    """As it stands in YAML, in the largest unit that gives a whole number: 28800.0 -> '8 h', 0.2 -> '200 ms'."""
    fitting = [unit for unit, size in units.items() if value >= size and (value / size).is_integer() and value / size * size == value]
    unit = max(fitting, key=lambda name: units[name]) if fitting else next(name for name, size in units.items() if size == 1)
    number = Decimal(repr(value / units[unit]))
    whole = number == number.to_integral_value()
    return f"{number.to_integral_value() if whole else number:f}{joint}{unit}"


def _words(units: Mapping[str, float], *, joint: str = " ") -> PlainSerializer:
    """JSON, and with it the effective configuration, says it as YAML would."""
    say: Callable[[float], str] = lambda value: spell(value, units, joint=joint)  # noqa: E731
    return PlainSerializer(say, return_type=str, when_used="json")


Duration = Annotated[float, BeforeValidator(_with_unit(_SECONDS, "5 s")), _words(_SECONDS), _schema(_SECONDS, "5 s")]
"""Seconds, written with a unit: 200 ms, 5 s, 8 h."""


def _above_zero(value: float) -> float:
    if value <= 0:
        raise ValueError("0 s is no time at all; write a time above 0, like '1 s'")
    return value


Time = Annotated[Duration, AfterValidator(_above_zero)]
"""A duration above 0."""

Frequency = Annotated[float, BeforeValidator(_with_unit(_HERTZ, "25.6 kHz")), _words(_HERTZ), _schema(_HERTZ, "25.6 kHz")]
"""Hertz, written with a unit: 10 Hz, 25.6 kHz."""

Size = Annotated[float, BeforeValidator(_with_unit(_BYTES, "2 GB")), _words(_BYTES), _schema(_BYTES, "2 GB")]
"""Bytes, written with a unit: 500 MB, 2 GiB."""


def _rate(value: Any) -> float:
    """'50/min' -> per second."""
    match = re.fullmatch(rf"{_NUMBER}\s*/\s*(s|min|h|d)", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a rate; write a number per s, min, h or d, like '50/min'")
    return float(match[1]) / _SECONDS[match[2]]


def _rate_words(value: float) -> str:
    """Per second -> '50/min', in the first unit that gives a whole number back exactly."""
    for unit in ("s", "min", "h", "d"):
        number = value * _SECONDS[unit]
        if number.is_integer() and number / _SECONDS[unit] == value:
            return f"{int(number)}/{unit}"
    return f"{Decimal(repr(value)):f}/s"


Rate = Annotated[
    float,
    BeforeValidator(_rate),
    PlainSerializer(_rate_words, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _RATE, "examples": ["50/min"]}),
]
"""Units of the tag (or events) per second, written per s, min, h or d: 50/min."""


def _share(value: Any) -> float:
    if isinstance(value, str) and (match := re.fullmatch(rf"{_NUMBER}\s*%", value.strip())):
        value = float(match[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{shown(value)} is not a share; write a number from 0 to 1 or a percentage like '1%'")
    return float(value)


Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*%\s*$"}]}),
]
"""0..1, or a percentage."""
