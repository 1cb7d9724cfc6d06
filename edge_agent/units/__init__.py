"""How does a value in one unit become a value in another, and are two units the same?

Only used when a configuration is read and when a device is asked for its contract: the hot path multiplies by the numbers
found here. What people write (`m³/h`, `L/min`, `°C`) and what OPC UA's EngineeringUnits say (`CEL`, unitId 4408652) are
both understood. A unit that we do not know still equals itself, so that `bottles` needs no entry.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from itertools import product
from typing import NamedTuple

from edge_agent.units.table import TABLE

UNECE_NAMESPACE = "http://www.opcfoundation.org/UA/units/un/cefact"  # OPC UA Part 8, 5.6.3.3
_NO_UNIT = -1  # the unitId that stands for "not a UNECE unit", same place

_SIGNS = str.maketrans({"°": "deg", "º": "deg", "\u00b5": "u", "\u03bc": "u", "\u03a9": "ohm", "−": "-", "–": "-", "‰": "permil"})
_NOISE = str.maketrans("", "", " \t·⋅∙‧*.^()[]")


class Conversion(NamedTuple):
    """target value = source value * scale + offset"""

    scale: float
    offset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    name: str
    dimension: str
    scale: Fraction  # to the dimension's first unit
    offset: Fraction
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    spelled: Mapping[str, tuple[_Unit, ...]]  # a few spellings have two meanings: g is a gram and an acceleration
    folded: Mapping[str, tuple[_Unit, ...]]  # where the case does not matter
    codes: Mapping[str, _Unit]


def factor(source: str, target: str) -> Conversion:
    """The numbers that turn a value in `source` into one in `target`. ValueError says what does not fit and what would."""
    if _plain(source) == _plain(target):
        return Conversion(1.0, 0.0)
    found, wanted = _known(source, source, target), _known(target, source, target)
    for a, b in product(found, wanted):
        if a.dimension == b.dimension:
            return _between(a, b)  # the table is such that no second reading gives other numbers: test_units.py
    raise ValueError(_mismatch(source, target, found, wanted))


def same(a: str, b: str) -> bool:
    """Whether two spellings name one unit. Never raises: a unit that we do not know equals only itself."""
    if _plain(a) == _plain(b):
        return True
    return any(_between(x, y) == (1.0, 0.0) for x, y in product(_meanings(a), _meanings(b)) if x.dimension == y.dimension)


def known(unit: str) -> bool:
    """Whether the unit can be converted at all."""
    return bool(_meanings(unit))


def engineering(unit_id: int | None, display: str | None, namespace: str | None = None) -> str | None:
    """The unit that OPC UA's EUInformation means, in our spelling: by its UNECE id if it has one that we know, else as displayed."""
    if unit_id not in (None, 0, _NO_UNIT) and namespace in (None, "", UNECE_NAMESPACE):
        unit = _index().codes.get(_code(unit_id or 0))
        if unit:
            return unit.name
    text = (display or "").strip()
    meant = _meanings(text)
    return meant[0].name if len(meant) == 1 else text or None


def _code(unit_id: int) -> str:
    """A unitId is the common code's characters as a big-endian number: 4408652 -> 0x43 0x45 0x4C -> CEL."""
    return unit_id.to_bytes(4, "big").strip(b"\0").decode("ascii", "replace") if 0 < unit_id < 1 << 32 else ""


def _between(source: _Unit, target: _Unit) -> Conversion:
    scale = source.scale / target.scale
    return Conversion(float(scale), float((source.offset - target.offset) / target.scale))


def _known(unit: str, source: str, target: str) -> tuple[_Unit, ...]:
    meant = _meanings(unit)
    if not meant:
        raise ValueError(f"cannot convert {source!r} to {target!r}: {unit!r} is not a known unit; {_hint(_plain(unit))}")
    return meant


def _hint(plain: str) -> str:
    spelled = _index().spelled
    near = [s for s in spelled if s.casefold() == plain.casefold()] or get_close_matches(plain, spelled, n=1, cutoff=0.5)
    return f"did you mean {spelled[near[0]][0].name!r}?" if near else "write it like l/min, m3/h, bar, degC, rpm"


def _mismatch(source: str, target: str, found: Iterable[_Unit], wanted: Iterable[_Unit]) -> str:
    kinds, wishes = (" or ".join(sorted({u.dimension for u in units})) for units in (found, wanted))
    fits = [u.name for units in _index().spelled.values() for u in units if u.dimension in wishes.split(" or ")]
    return (
        f"cannot convert {source!r} ({kinds}) to {target!r} ({wishes}); "
        f"units of {wishes} are {', '.join(list(dict.fromkeys(fits))[:6])}: correct the one that is wrong"
    )


def _meanings(unit: str) -> tuple[_Unit, ...]:
    plain, index = _plain(unit), _index()
    if plain in index.spelled:
        return index.spelled[plain]
    code = unit.strip()
    if len(code) > 2 and code in index.codes:  # two-letter codes mean other things to people: HP, PS
        return (index.codes[code],)
    return index.folded.get(_fold(plain), ()) if len(plain) > 1 else ()


def _plain(unit: str) -> str:
    """One spelling for one unit: m³/h, m^3/h and m3 / h are m3/h; °C is degC."""
    signs = unit.translate(_SIGNS)
    return unicodedata.normalize("NFKC", signs).translate(_SIGNS).translate(_NOISE)


def _fold(plain: str) -> str:
    """Case rarely matters, but m is a thousandth and M a million."""
    return plain[0] + plain[1:].casefold() if plain[:1] in ("m", "M") else plain.casefold()


@cache
def _index() -> _Index:
    spelled: dict[str, tuple[_Unit, ...]] = {}
    folded: dict[str, tuple[_Unit, ...]] = {}
    codes: dict[str, _Unit] = {}
    for dimension, lines in TABLE.items():
        for line in lines.strip().splitlines():
            name, number, code, *others = line.split()
            scale, _, offset = number.partition("+")
            unit = _Unit(
                name=name, dimension=dimension, scale=_number(scale), offset=_number(offset or "0"), code=None if code == "-" else code
            )
            for spelling in (name, *others):
                spelled[spelling] = (*spelled.get(spelling, ()), unit)
            for key in {_fold(spelling) for spelling in (name, *others)}:
                folded[key] = (*folded.get(key, ()), unit)
            if unit.code:
                codes[unit.code] = unit
    return _Index(spelled=spelled, folded=folded, codes=codes)


def _number(text: str) -> Fraction:
    above, _, below = text.partition("/")
    return Fraction(above) / Fraction(below or 1)
