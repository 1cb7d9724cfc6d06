"""Which value does a word in YAML stand for? YAML 1.2's core schema and nothing more: NO is a text, so is 22:30."""

from __future__ import annotations

import math
import re

from edge_agent.config.tree import Plain

_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_STARTS_A_NUMBER = frozenset("-+.0123456789")
_LONGEST_INTEGER = 19  # digits; what a signed 64-bit integer holds


class BadScalar(ValueError):
    """A word that looks like a number and must not be taken for one; `cure` says what to write."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


def value(word: str) -> Plain:
    """The value of a plain (unquoted) word."""
    if word in _WORDS:
        return _WORDS[word]
    return _number(word) if word[0] in _STARTS_A_NUMBER else word


def _number(word: str) -> Plain:
    if _INTEGER.fullmatch(word):
        return _integer(word)
    if _FLOAT.fullmatch(word):
        return _float(word)
    if _OTHER_BASE.fullmatch(word):
        return int(word, 0)
    if _NOT_A_NUMBER.fullmatch(word):
        raise BadScalar(f"{word} is not a number that can be used here", "leave the key out where there is no value")
    return word


def _integer(word: str) -> int:
    digits = word.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0":
        short = digits.lstrip("0") or "0"
        raise BadScalar(f"{word} starts with a zero: some programs read it as octal", f"write {short}, or '{word}' in quotes for a text")
    if len(digits) > _LONGEST_INTEGER:
        raise BadScalar(f"a number of {len(digits)} digits is too large", "write it in quotes if it is a name")
    return int(word)


def _float(word: str) -> float:
    number = float(word)
    if math.isinf(number):
        raise BadScalar(f"{word[:40]} is too large for a number", "write a number below 1e308")
    return number
