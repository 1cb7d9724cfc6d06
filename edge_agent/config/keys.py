"""Which keys may stand at a place, and what do they mean? Asked of the models, for suggestions and descriptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge_agent.config.tree import Path


def known(model: type[BaseModel], path: Path) -> dict[str, FieldInfo]:
    """The keys that the models allow below `path`; of all variants where there are several."""
    found: list[Any] = [model]
    for step in path:
        found = [part for kind in found for part in _below(kind, step)] or found  # a union's own label is not in the file
    return {spelled(name, field): field for kind in _models(found) for name, field in kind.model_fields.items()}


def spelled(name: str, field: FieldInfo) -> str:
    """The key as it stands in the file: `from`, not `from_`."""
    return field.alias or name


def _below(kind: Any, step: str | int) -> list[Any]:
    """The types that may stand under one step from `kind`."""
    below: list[Any] = []
    for variant in _variants(kind):
        if isinstance(variant, type) and issubclass(variant, BaseModel):
            below += [field.annotation for name, field in variant.model_fields.items() if spelled(name, field) == step]
        elif get_origin(variant) is dict:
            below.append(get_args(variant)[1])
        elif isinstance(step, int) and get_origin(variant) in (list, tuple, set, frozenset):
            below += [argument for argument in get_args(variant) if argument is not Ellipsis]
    return below


def _variants(kind: Any) -> Iterable[Any]:
    """Through Annotated and unions down to what is really meant."""
    if hasattr(kind, "__metadata__"):
        yield from _variants(kind.__origin__)
    elif get_args(kind) and get_origin(kind) not in (dict, list, tuple, set, frozenset, type):
        for argument in get_args(kind):
            yield from _variants(argument)
    else:
        yield kind


def _models(kinds: Iterable[Any]) -> Iterable[type[BaseModel]]:
    for kind in kinds:
        for variant in _variants(kind):
            if isinstance(variant, type) and issubclass(variant, BaseModel):
                yield variant
