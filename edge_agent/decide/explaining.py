"""How does one say in a sentence why an expression holds? Its own text, with the values behind the names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edge_agent.decide import evidence
from edge_agent.decide.lexing import Token, tokens
from edge_agent.messages import Diagnosis


def explain(text: str, names: Collection[str], values: Mapping[str, Any]) -> str:
    """'score>0.8 and age(flow) < 3' -> 'score 0.91 > 0.8 and age(flow) 1.2 < 3'"""
    found = tokens(text)
    words, before, waiting = "", "", ""
    for i, token in enumerate(found):
        if words and token.text not in (")", ",") and before != "(" and not _is_call(found, i - 1):
            words += " "
        words += token.text
        shown = _value(found, i, names, values)
        if _argument_of(found, i) in ("age", "contribution"):
            shown, waiting = "", shown  # it belongs behind the bracket
        elif token.text == ")" and waiting:
            shown, waiting = waiting, ""
        words += f" {shown}" if shown and not (shown.startswith('"') and shown in text) else ""
        before = token.text
    return words


def _is_call(found: list[Token], i: int) -> bool:
    return found[i].kind == "name" and found[i].text not in ("and", "or", "not", "in", "if", "else") and found[i + 1].text == "("


def _argument_of(found: list[Token], i: int) -> str:
    """The function whose first argument stands here."""
    return found[i - 2].text if i > 1 and found[i - 1].text == "(" and _is_call(found, i - 2) else ""


def _value(found: list[Token], i: int, names: Collection[str], values: Mapping[str, Any]) -> str:
    token, call = found[i], _argument_of(found, i)
    if token.kind != "name" or token.text not in names or call in ("good", "bad", "quality"):
        return ""
    value = values.get(token.text)
    if call == "age":
        return _words(evidence.age(value))
    return _words(evidence.share(values.get("contributions"), token.text) if call == "contribution" else evidence.plain(value))


def _words(value: Any) -> str:
    """Numbers, texts and unknowns are worth saying; a truth says itself."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return ""
    return f'"{value}"' if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A number as people write it: four digits are enough."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}" if abs(value) < 1e9 else f"{value:.3e}"


def undecided(diagnosis: Diagnosis) -> str:
    """Why a diagnosis is no evidence."""
    return f"the diagnosis is {diagnosis.status}" + (f" ({diagnosis.why})" if diagnosis.why else "")
