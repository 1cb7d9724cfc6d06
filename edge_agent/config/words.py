"""Which words say what pydantic found? One place for the wording of every kind of finding."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_agent.config.suggest import nearest

Finding = Mapping[str, Any]
Said = tuple[str, str]  # what is wrong, how to mend it

# pydantic's type of a finding -> what it wanted
_WANTED = {
    "string_type": "a text",
    "string_sub_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is not infinite",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "none_required": "nothing",
}
_NUMBERS = frozenset({"a whole number", "a number"})
_QUOTED = re.compile(r"'([^']*)'")


def about_type(finding: Finding) -> bool:
    """Whether the finding only says that the value is of another kind."""
    return finding["type"] in _WANTED


def expectation(finding: Finding) -> str:
    """'must be ...', without a word about the value."""
    return f"must be {_WANTED[finding['type']]}" if finding["type"] in _WANTED else "is not of the form that belongs here"


def name(key: str) -> Said:
    """A name that is none."""
    better = re.sub(r"^[^A-Za-z]+", "", re.sub(r"[^A-Za-z0-9_]", "_", key))[:63]
    hint = f", like `{better}`" if better else ""
    return f"{shown(key)} cannot be a name", f"start with a letter, then letters, digits or '_', at most 63{hint}"


def shown(value: Any) -> str:
    """A value as the technician wrote it, short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + "...'"


def say(findings: Sequence[Finding]) -> Said:
    """All that was found at one place (one finding, or one for each member of a union)."""
    finding = findings[0]
    if about_type(finding):
        return _wrong_type(finding["input"], list(dict.fromkeys(_WANTED[each["type"]] for each in findings if about_type(each))))
    speak = _SPEAK.get(finding["type"])
    return speak(finding) if speak else (_sentence(finding["msg"]), "")


def _sentence(text: str) -> str:
    """pydantic's or a validator's own words."""
    text = re.sub(r"^(Value error|Assertion failed), ", "", text)
    return text[:1].lower() + text[1:] if re.match(r"[A-Z][a-z]+ (should|must)", text) else text


def _wrong_type(value: Any, wanted: list[str]) -> Said:
    either = " or ".join(wanted)
    if value is None:
        return f"nothing stands here; it must be {either}", "write the value, or remove the key"
    return f"{shown(value)} is not {either}", _mend_type(value, wanted)


def _mend_type(value: Any, wanted: list[str]) -> str:
    if wanted == ["true or false"]:
        return "write true or false"
    if wanted == ["a text"] and isinstance(value, int | float):
        return f"put it in quotes: '{shown(value)}'"
    if _NUMBERS.intersection(wanted) and isinstance(value, str):
        number = re.match(r"\s*([-+]?[0-9.]+)\s*(.*)", value)
        if number and not number[2]:
            return "remove the quotes"
        if number and re.fullmatch(r"[^\W\d].*|%|°.*", number[2]):
            return f"write the number alone: {number[1]}"
        return f"write {wanted[0] if len(wanted) == 1 else ' or '.join(wanted)}, like 10"
    if wanted == ["a list"]:
        return "write a list: [a, b]"
    return f"write {' or '.join(wanted)}"


def _one_of(finding: Finding) -> Said:
    allowed = _QUOTED.findall(finding["ctx"]["expected"]) or [finding["ctx"]["expected"]]
    close = nearest(finding["input"], allowed) if isinstance(finding["input"], str) else None
    listed = finding["ctx"]["expected"].replace("'", "`")
    return f"{shown(finding['input'])} is not allowed", f"did you mean `{close}`? It is one of {listed}" if close else f"write {listed}"


def _compared(word: str, key: str) -> Callable[[Finding], Said]:
    def speak(finding: Finding) -> Said:
        return f"{shown(finding['input'])} is out of range", f"it must be {word} {finding['ctx'][key]}"

    return speak


def _too_few(finding: Finding) -> Said:
    return f"{finding['ctx']['actual_length']} entries are too few", f"at least {finding['ctx']['min_length']} must stand here"


def _too_many(finding: Finding) -> Said:
    return f"{finding['ctx']['actual_length']} entries are too many", f"at most {finding['ctx']['max_length']} may stand here"


def _pattern(finding: Finding) -> Said:
    if finding["ctx"]["pattern"].startswith("^[A-Za-z][A-Za-z0-9_"):
        return name(str(finding["input"]))
    return f"{shown(finding['input'])} does not have the right form", f"it must match {finding['ctx']['pattern']}"


def _union_tag(finding: Finding) -> Said:
    context = finding["ctx"]
    allowed = _QUOTED.findall(context["expected_tags"])
    close = nearest(str(context["tag"]), allowed)
    key = context["discriminator"].strip("'")
    return f"`{key}: {context['tag']}` is not known", f"did you mean `{close}`?" if close else f"there are: {', '.join(allowed)}"


def _no_union_tag(finding: Finding) -> Said:
    key = finding["ctx"]["discriminator"].strip("'")
    return f"`{key}` is missing", f"add `{key}:` to say which kind this is"


_SPEAK: dict[str, Callable[[Finding], Said]] = {
    "literal_error": _one_of,
    "enum": _one_of,
    "greater_than": _compared("greater than", "gt"),
    "greater_than_equal": _compared("at least", "ge"),
    "less_than": _compared("less than", "lt"),
    "less_than_equal": _compared("at most", "le"),
    "multiple_of": _compared("a multiple of", "multiple_of"),
    "too_short": _too_few,
    "too_long": _too_many,
    "string_pattern_mismatch": _pattern,
    "union_tag_invalid": _union_tag,
    "union_tag_not_found": _no_union_tag,
}
