"""Which module stands behind a `type:` in the YAML? Bundled names win; strangers come through entry points. Lazy."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from edge_agent.errors import EdgeAgentError

Kind = Literal["connector", "head", "policy"]

_HOME: dict[Kind, str] = {
    "connector": "connectors",
    "head": "edge_agent.diagnose.heads",
    "policy": "edge_agent.decide.policies",
}


class PluginNotFound(EdgeAgentError):
    """No plug-in of that name."""


def names(kind: Kind) -> list[str]:
    """Every type name that may stand in the YAML, bundled first."""
    return sorted(_bundled(kind)) + sorted({e.name for e in entry_points(group=f"edge_agent.{kind}")} - _bundled(kind))


def load(kind: Kind, name: str) -> ModuleType:
    """Import the plug-in's module. Its heavy libraries are imported later, by the plug-in itself, when it runs."""
    if _is_bundled(kind, name):
        return importlib.import_module(f"{_HOME[kind]}.{name}")
    for entry in entry_points(group=f"edge_agent.{kind}", name=name):
        module = entry.load()
        if isinstance(module, ModuleType):
            return module
        raise PluginNotFound(f"{kind} {name!r}: the entry point {entry.value} names no module; name the module itself")
    raise PluginNotFound(f"no {kind} is called {name!r}; there are: {', '.join(names(kind))}")


def _is_bundled(kind: Kind, name: str) -> bool:
    """Without listing the folder: asked for each of a thousand loops."""
    return name.isidentifier() and not name.startswith("_") and (_folder(kind) / f"{name}.py").is_file()


def _bundled(kind: Kind) -> set[str]:
    return {file.stem for file in _folder(kind).glob("*.py") if not file.stem.startswith("_")}


def _folder(kind: Kind) -> Path:
    package = importlib.import_module(_HOME[kind])
    folder = Path(package.__file__ or "").parent
    _refuse_a_stranger(kind, folder)
    return folder


def _refuse_a_stranger(kind: Kind, folder: Path) -> None:
    """`connectors` is a plain name that another distribution could take: ours lies beside our edge_agent."""
    if kind == "connector" and folder.parent != Path(__file__).parent.parent:
        raise PluginNotFound(f"the package 'connectors' in {folder} is not ours; remove it from the import path")
