"""What does the agent really run with? The configuration with defaults and templates put in, secrets by name only."""

from __future__ import annotations

from typing import Any

import yaml

from edge_agent.config import scalars
from edge_agent.config.load import Configuration
from edge_agent.config.tree import tagged


class _Tagged(str):
    """'!secret plc_password' in place of what it stands for."""

    __slots__ = ()


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes only what our strict reader reads back the same."""


def text(configuration: Configuration) -> str:
    """YAML that `check` accepts and that means the same."""
    whole = values(configuration)
    for path, scalar in tagged(configuration.root):
        inner = whole
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = _Tagged(f"{scalar.tag} {scalar.value}")
    return str(yaml.dump(whole, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140, default_flow_style=None))


def values(configuration: Configuration) -> Any:
    """As JSON-able values; every secret is stars."""
    whole = configuration.file.model_dump(mode="json", by_alias=True, exclude_none=True)
    for section in ("connectors", "tags"):
        held = getattr(configuration, section)
        whole[section] = {name: _dump(held[name]) if name in held else raw for name, raw in whole[section].items()}
    for name, policy in configuration.policies.items():
        whole["loops"][name]["decide"] = _dump(policy)
    return whole


def _dump(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _text(dumper: Any, value: str) -> Any:
    try:
        plain = scalars.value(value) == value
    except scalars.BadScalar:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else "'")


def _tag(dumper: Any, value: _Tagged) -> Any:
    tag, _, name = value.partition(" ")
    return dumper.represent_scalar(tag, name)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Tagged, _tag)
