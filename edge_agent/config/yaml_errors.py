"""How are libyaml's complaints said so that a technician can act on them?"""

from __future__ import annotations

import re
from typing import Any

import yaml

from edge_agent.errors import Problem

# what libyaml says (a part of it) -> what, cure
_WORDS: list[tuple[str, str, str]] = [
    ("cannot start any token", "this character cannot start a value", "put the value in quotes"),
    ("unexpected ':'", "a ':' inside a value", "put the value in quotes"),
    ("mapping values are not allowed", "a ':' where no key can stand", "put the text in quotes, or mend the indentation"),
    ("could not find expected ':'", "a key without ':'", "write 'key: value'; mind the space after the colon"),
    ("did not find expected ',' or ']'", "a list in [ ] that is not closed", "add ',' or ']'"),
    ("did not find expected ',' or '}'", "a mapping in { } that is not closed", "add ',' or '}'"),
    ("did not find expected '-' indicator", "this line does not fit the list above", "give all '-' of one list the same indentation"),
    ("did not find expected key", "this line does not fit the lines above", "give all keys of one mapping the same indentation"),
    ("did not find expected node content", "a value is missing here", "write the value, or quotes around it"),
    ("did not find expected <document start>", "text after the end of the configuration", "mend the indentation of this line"),
    ("unexpected end of stream", "quotes that are not closed", "close them on the same line"),
    ("document separator", "quotes that are not closed", "close them on the same line"),
    ("escape", "an escape that YAML does not know", "use single quotes: '\\' then means itself"),
    ("undefined tag handle", "a tag that is not known", "only !secret and !env may stand before a name"),
    ("incompatible YAML", "a YAML version that is not 1.2", "remove the %YAML line"),
    ("block entries are not allowed", "a '-' where no list can stand", "start the list on its own line"),
    ("maximum", "nested too deep", "a configuration is at most about ten deep"),
]


def explained(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """A syntax error as a problem with its place."""
    said = " ".join(filter(None, (getattr(error, "problem", None), getattr(error, "context", None)))) or "not YAML"
    found, opened = _place(error, "problem_mark"), _place(error, "context_mark")
    line, column = found or opened or (0, 0)
    if tab := _leading_tab(text, line):
        return Problem(file, *tab, "", "indented with a tab", "YAML is indented with spaces: set the editor to insert spaces", 1)
    for part, what, cure in _WORDS:
        if part in said:
            where = (opened or (line, column)) if "not closed" in what else (line, column)
            return Problem(file, *where, "", f"not YAML: {what}", cure, 1)
    return Problem(file, line, column, "", f"not YAML: {said}", "look at this line and the one above", 1)


def _place(error: yaml.YAMLError, name: str) -> tuple[int, int] | None:
    mark: Any = getattr(error, name, None)
    return (mark.line + 1, mark.column + 1) if mark else None


def _leading_tab(text: str, line: int) -> tuple[int, int] | None:
    """libyaml complains on the tab's line or on the next one."""
    lines = text.splitlines()
    for number in (line, line - 1):
        if 0 < number <= len(lines) and (match := re.match(r" *\t", lines[number - 1])):
            return number, match.end()
    return None
