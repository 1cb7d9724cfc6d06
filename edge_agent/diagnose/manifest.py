"""Which files make a bundle, how long is each, and what are their hashes? The manifest is what gets signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from edge_agent.config.model import Name
from edge_agent.config.types import Model
from edge_agent.errors import ModelRefused

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
REQUIRED = frozenset({"model.onnx", "card.yaml", "golden.npz"})
OPTIONAL = frozenset({"model.fp32.onnx"})
COMPANIONS = frozenset({"train.py", "README.md"})
"""May lie beside a bundle in a source tree; never opened, never packed, never installed."""

FileName = Literal["model.onnx", "model.fp32.onnx", "card.yaml", "golden.npz"]


class File(Model):
    """One file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=1)]


class Manifest(Model):
    """A whole manifest.json."""

    format: Literal[1]
    name: Name
    version: Annotated[str, Field(max_length=64)]
    files: dict[FileName, File]


def build(name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """The manifest's bytes for these files: sorted, so that the same files give the same bytes."""
    entries = {file: {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)} for file, raw in files.items()}
    return json.dumps({"format": 1, "name": name, "version": version, "files": entries}, indent=1, sort_keys=True).encode() + b"\n"


def parse(raw: bytes, where: str = MANIFEST) -> Manifest:
    """Read a manifest. ModelRefused."""
    try:
        json.loads(raw, object_pairs_hook=_no_key_twice)
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as e:
        raise ModelRefused("\n".join(f"{where}: {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors())) from e
    except (ValueError, RecursionError) as e:
        raise ModelRefused(f"{where}: not JSON: {e}") from e
    if missing := REQUIRED - set(manifest.files):
        raise ModelRefused(f"{where}: does not list {', '.join(sorted(missing))}; every bundle has {', '.join(sorted(REQUIRED))}")
    return manifest


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
