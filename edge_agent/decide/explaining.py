"""How does one say in a sentence why an expression holds? Its own text, with the values behind the names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from edge_agent.decide import evidence
from edge_agent.decide.lexing import Token, tokens
from edge_agent.messages import Diagnosis


class Piece(NamedTuple):
    """Words of the text with the blank before them, and whose value is said behind them: a name's own, its age, its share of the blame."""

    words: str
    name: str = ""
    of: str = ""


def pieces(text: str, names: Collection[str]) -> tuple[Piece, ...]:
    """A text taken apart, once, for being explained at each window."""
    found = tokens(text)
    done: list[Piece] = []
    before, waiting = "", Piece("")
    for i, token in enumerate(found):
        blank = " " if done and token.text not in (")", ",") and before != "(" and not _is_call(found, i - 1) else ""
        name, of = _named(found, i, names), _argument_of(found, i)
        if of in ("age", "contribution"):
            name, waiting = "", Piece("", name, of)  # it belongs behind the bracket
        elif token.text == ")" and waiting.name:
            (_, name, of), waiting = waiting, Piece("")
        done.append(Piece(blank + token.text, name, of))
        before = token.text
    return tuple(done)


def explain(text: str, parts: Sequence[Piece], values: Mapping[str, Any]) -> str:
    """'score>0.8 and age(flow) < 3' -> 'score 0.91 > 0.8 and age(flow) 1.2 < 3'"""
    words = ""
    for part in parts:
        words += part.words
        if part.name and (shown := _value(part, values)) and not (shown.startswith('"') and shown in text):
            words += f" {shown}"
    return words


def _is_call(found: list[Token], i: int) -> bool:
    return found[i].kind == "name" and found[i].text not in ("and", "or", "not", "in", "if", "else") and found[i + 1].text == "("


def _argument_of(found: list[Token], i: int) -> str:
    """The function whose first argument stands here."""
    return found[i - 2].text if i > 1 and found[i - 1].text == "(" and _is_call(found, i - 2) else ""


def _named(found: list[Token], i: int, names: Collection[str]) -> str:
    token = found[i]
    worth_saying = token.kind == "name" and token.text in names and _argument_of(found, i) not in ("good", "bad", "quality")
    return token.text if worth_saying else ""


def _value(part: Piece, values: Mapping[str, Any]) -> str:
    if part.of == "contribution":
        return _words(evidence.share(values.get("contributions"), part.name))
    value = values.get(part.name)
    return _words(evidence.age(value) if part.of == "age" else evidence.plain(value))


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
