"""Who signed this manifest? Ed25519 against the public keys of a trust folder."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from pydantic import Field, ValidationError

from edge_agent.config.types import Model
from edge_agent.errors import ModelRefused

CONTEXT = b"edge-agent bundle manifest 1\n"  # goes before the manifest, so that a signature means nothing elsewhere
MAX_BYTES = 1024

Keys = Mapping[str, tuple[str, Ed25519PublicKey]]
"""Key id -> (whose it is: the file's name, the key)."""


class Signature(Model):
    """A whole manifest.sig."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    signature: Annotated[str, Field(max_length=128)]


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def trusted(folder: Path | None) -> Keys:
    """Every `NAME.pem` in the folder. A file that is no Ed25519 public key is an error, not a shrug."""
    keys: dict[str, tuple[str, Ed25519PublicKey]] = {}
    for file in sorted(folder.glob("*.pem")) if folder else ():
        try:
            key = load_pem_public_key(file.read_bytes())
        except (ValueError, OSError) as e:
            raise ModelRefused(f"{file}: not a public key in PEM: {e}") from e
        if not isinstance(key, Ed25519PublicKey):
            raise ModelRefused(f"{file}: not an Ed25519 key; make one with `edge-agent models keygen`")
        keys[key_id(key)] = (file.stem, key)
    return keys


def dump(key: str, signature: bytes) -> bytes:
    """The bytes of a manifest.sig."""
    return json.dumps({"key": key, "signature": base64.b64encode(signature).decode()}).encode() + b"\n"


def verify(manifest: bytes, raw: bytes, keys: Keys, where: str) -> str | None:
    """Whose valid signature this is; None if by a key that we do not know. ModelRefused if it is wrong or malformed."""
    try:
        found = Signature.model_validate_json(raw)
        signature = base64.b64decode(found.signature, validate=True)
    except (ValidationError, ValueError) as e:
        raise ModelRefused(f"{where}: malformed; sign the bundle again") from e
    if raw != dump(found.key, signature):
        raise ModelRefused(f"{where}: malformed: not written as `edge-agent models sign` writes it; sign the bundle again")
    if found.key not in keys:
        return None
    name, key = keys[found.key]
    try:
        key.verify(signature, CONTEXT + manifest)
    except InvalidSignature as e:
        raise ModelRefused(f"{where}: the signature by {name} ({found.key}) is wrong: the bundle was changed after it was signed") from e
    return name
