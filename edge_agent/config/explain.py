"""What is wrong with a value, in a technician's words? Turns pydantic's findings into problems with their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from edge_agent.config import words
from edge_agent.config.keys import known
from edge_agent.config.suggest import cure, nearest
from edge_agent.config.tree import Mapping as Branch
from edge_agent.config.tree import Node, Path, Scalar, child, find, place, problem
from edge_agent.errors import Problem

Finding = Mapping[str, Any]  # one entry of ValidationError.errors()


def explain(error: ValidationError, model: type[BaseModel], *, root: Node, base: Path, file: str) -> list[Problem]:
    """Every finding of pydantic as a problem. `base` is where in the file the validated value stands."""
    grouped: dict[Path, list[Finding]] = {}
    for finding in error.errors(include_url=False):
        grouped.setdefault(_path(finding["loc"], find(root, base), finding["type"]), []).append(finding)
    told = [_tell(findings, path, model, root=root, base=base, file=file) for path, findings in _deepest(grouped).items()]
    return [item for item in told if item is not None]


def _path(loc: tuple[int | str, ...], node: Node | None, kind: str) -> Path:
    """pydantic's location without the labels of union members, which are not in the file."""
    path: list[int | str] = []
    for number, step in enumerate(loc):
        entry = child(node, step)
        if entry is not None:
            path.append(step)
            node = entry.node
        elif kind == "missing" and number == len(loc) - 1:
            path.append(step)
    return tuple(path)


def _deepest(grouped: dict[Path, list[Finding]]) -> dict[Path, list[Finding]]:
    """Of a union that failed: what was wrong inside says more than that it was not the other variant."""
    inner = {path[:cut] for path in grouped for cut in range(len(path))}
    return {path: found for path, found in grouped.items() if path not in inner or not all(words.about_type(each) for each in found)}


def _tell(findings: list[Finding], path: Path, model: type[BaseModel], *, root: Node, base: Path, file: str) -> Problem | None:
    full, finding = (*base, *path), findings[0]
    node = find(root, full)
    if isinstance(node, Scalar) and node.tag:
        return _hidden(finding, node, full, root=root, file=file)
    if finding["type"] == "extra_forbidden":
        beside = () if base or len(path) > 1 else ("templates", "use")  # gone before the models see the file
        hint = cure(str(full[-1]), [*known(model, path[:-1]), *beside])
        return problem(file, place(root, full, key=True), full, f"unknown key `{full[-1]}`", hint)
    if finding["type"] == "missing":
        return _missing(path, model, root=root, base=base, file=file)
    if "[key]" in finding["loc"]:
        what, mend = words.name(str(full[-1]))
        return problem(file, place(root, full, key=True), full, what, mend)
    what, mend = words.say(findings)
    return problem(file, place(root, full), full, what, mend)


def _hidden(finding: Finding, node: Scalar, path: Path, *, root: Node, file: str) -> Problem:
    """Never a word about what stands behind a secret."""
    what = f"what stands behind {node.tag} {node.value} does not fit here: it {words.expectation(finding)}"
    return problem(file, place(root, path), path, what, "write the value here, or mend what stands behind the name")


def _missing(path: Path, model: type[BaseModel], *, root: Node, base: Path, file: str) -> Problem | None:
    full, last = (*base, *path), path[-1]
    if isinstance(last, int):
        return problem(file, place(root, full[:-1]), full[:-1], "the list has too few entries", f"it needs {last + 1}")
    above = find(root, full[:-1])
    field = known(model, path[:-1]).get(last)
    meaning = f": {field.description}" if field is not None and field.description else ""
    if _misspelled(last, above, known(model, path[:-1])):
        return None  # told already, as an unknown key
    return problem(file, place(root, full[:-1], key=True), full, f"`{last}` is missing", f"add `{last}`{meaning}")


def _misspelled(key: str, above: Node | None, allowed: Mapping[str, Any]) -> bool:
    """Whether an unknown key stands there whose suggestion is the missing one."""
    strangers = [name for name in above.entries if name not in allowed] if isinstance(above, Branch) else []
    return any(nearest(stranger, allowed) == key for stranger in strangers)
