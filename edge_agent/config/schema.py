"""What may an editor offer? The JSON Schema of the whole file, composed from the core models and all plug-ins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent import plugin
from edge_agent.config import types

Schema = dict[str, Any]

_UNITS: dict[str, Mapping[str, float]] = {"5 s": types._SECONDS, "25.6 kHz": types._HERTZ, "2 GB": types._BYTES}
_ADDRESS = "#/$defs/"


def compose() -> Schema:
    """The schema of a configuration file, for this installation's plug-ins."""
    from pydantic.json_schema import models_json_schema

    from edge_agent.config.model import File
    from edge_agent.config.templates import Templated

    connectors = [(name, plugin.load("connector", name)) for name in plugin.names("connector")]
    policies = [(name, plugin.load("policy", name)) for name in plugin.names("policy")]
    models: list[Any] = [File, Templated, *(part for _, module in connectors for part in (module.Config, module.Tag))]
    models += [module.Config for _, module in policies]
    refs, shared = models_json_schema([(model, "validation") for model in models])
    definitions: dict[str, Schema] = shared["$defs"]
    where = {model: refs[model, "validation"] for model in models}
    top = definitions.pop(_name(where[File]))
    templated = definitions.pop(_name(where[Templated]))
    top["properties"] = {
        **top["properties"],
        "connectors": _named(_either("type", {name: where[module.Config] for name, module in connectors})),
        "tags": _named({"anyOf": _distinct([where[module.Tag] for _, module in connectors])}),
        **templated["properties"],
    }
    top["required"] = ["version", "agent"]  # the rest may come from templates
    definitions["Loop"]["properties"]["decide"] = _either("policy", {name: where[module.Config] for name, module in policies})
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "$defs": dict(sorted(definitions.items()))}
    whole["title"] = "edge-agent configuration"
    for part in _walk(whole):
        _tidy(part)
    return whole


def text() -> str:
    """As it is checked in."""
    return json.dumps(compose(), indent=1, ensure_ascii=False) + "\n"


def _name(ref: Schema) -> str:
    return str(ref["$ref"]).removeprefix(_ADDRESS)


def _named(inner: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_-]{0,62}$"}, "additionalProperties": inner}


def _distinct(refs: list[Schema]) -> list[Schema]:
    return list({_name(ref): ref for ref in refs}.values())


def _either(key: str, variants: dict[str, Schema]) -> Schema:
    """A union that `key` decides."""
    mapping = {name: ref["$ref"] for name, ref in variants.items()}
    return {
        "type": "object",
        "required": [key],
        "oneOf": list(variants.values()),
        "discriminator": {"propertyName": key, "mapping": mapping},
    }


def _walk(part: Any) -> Iterator[Schema]:
    if isinstance(part, dict):
        yield part
        for inner in list(part.values()):
            yield from _walk(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _walk(inner)


def _tidy(part: Schema) -> None:
    """Defaults as one would write them; no titles that only repeat the key."""
    for key, inner in part.get("properties", {}).items():
        if isinstance(inner, dict) and str(inner.get("title", "")).replace(" ", "").lower() == re.sub(r"[^a-z0-9]", "", key.lower()):
            del inner["title"]
    example = str((part.get("examples") or [""])[0])
    default = part.get("default")
    if isinstance(default, dict | list):
        del part["default"]
    elif isinstance(default, float) and example in _UNITS:
        part["default"] = types.spell(default, _UNITS[example])
