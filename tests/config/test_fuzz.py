"""Whatever a file says, loading it ends soon, and in a configuration or a ConfigError that never tells a secret."""

import time
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_agent.config.load import Configuration, parse
from edge_agent.errors import ConfigError

_spec = spec_from_file_location("config_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
_conftest = module_from_spec(_spec)
_spec.loader.exec_module(_conftest)
GOOD: str = _conftest.GOOD

_SIGNS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "<<: ",
    "|",
    ">",
    "'",
    '"',
    "#",
    "%",
    "---\n",
    "\x00",
    "ä",
    "\u2028",
]
_WORDS = [
    "!secret x",
    "!env Y",
    "!!int ",
    "${id}",
    "$${",
    "templates:",
    "use:",
    "params:",
    "1..9",
    ".nan",
    "010",
    "1e999",
    "null",
    "version: 1",
]
_SECTIONS = ["tags:", "loops:", "connectors:", "from: plc"]
_PIECES = st.sampled_from([*_SIGNS, *_WORDS, *_SECTIONS])
_NOISE = st.lists(_PIECES, max_size=60).map("".join)
_VALUES = st.sampled_from(
    ["5", "'5'", "[1]", "{a: 1}", "null", "true", "x", "1e5", "!env A", "[[]]", '""', "*a", "5 s", "-1", "{type: sim}", "${x}"]
)


def _ends_well(text: str) -> None:
    before = time.process_time()
    with suppress(ConfigError):
        assert isinstance(parse(text, "fuzz.yaml", environment={"A": "hidden-value"}), Configuration)
    assert time.process_time() - before < 2.0


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_NOISE)
@example("\ufeff")
@example("a: !secret")
@example("&a a: *a")
@example("{}: {}")
@example("? |\n  x\n: y")
def test_noise_ends_in_a_configuration_error(text: str) -> None:
    _ends_well(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_ends_in_a_configuration_error(text: str) -> None:
    _ends_well(text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, GOOD.count(": ") - 1), _VALUES)
def test_a_right_file_with_one_other_value_ends_well(number: int, value: str) -> None:
    parts = GOOD.split(": ")
    rest = parts[number + 1]
    cut = min((rest.find(c) for c in ",}]\n" if c in rest), default=len(rest))
    _ends_well(": ".join([*parts[: number + 1], value + rest[cut:], *parts[number + 2 :]]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(GOOD)), st.integers(0, 40), _NOISE)
def test_a_right_file_with_a_piece_torn_out_ends_well(start: int, length: int, noise: str) -> None:
    _ends_well(GOOD[:start] + noise + GOOD[start + length :])
