"""Who vouches for a bundle? Make a key, sign a bundle's manifest with it."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from edge_agent.diagnose import bundle, manifest, signature
from edge_agent.errors import EdgeAgentError
from edge_agent.lifecycle.durable import replace_file


def keygen(folder: Path, name: str) -> tuple[Path, Path, str]:
    """A new key: (private NAME.key, public NAME.pem, key id). Never overwrites. The public one goes into each agent's trust folder."""
    private = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True)
    secret, public = folder / f"{name}.key", folder / f"{name}.pem"
    _new(secret, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _new(public, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return secret, public, signature.key_id(private.public_key())


def sign(folder: Path, key: Path) -> str:
    """Sign a bundle that is whole and admitted; the key id. ModelRefused, EdgeAgentError."""
    bundle.read(folder, dev=True)
    private = _private(key)
    raw = (folder / manifest.MANIFEST).read_bytes()
    used = signature.key_id(private.public_key())
    replace_file(folder / manifest.SIGNATURE, signature.dump(used, private.sign(signature.CONTEXT + raw)))
    return used


def _private(key: Path) -> Ed25519PrivateKey:
    try:
        found = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as e:
        raise EdgeAgentError(f"{key}: not a private key that can be read: {e}; make one with `edge-agent models keygen`") from e
    if not isinstance(found, Ed25519PrivateKey):
        raise EdgeAgentError(f"{key}: not an Ed25519 key; make one with `edge-agent models keygen`")
    return found


def _new(path: Path, raw: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as e:
        raise EdgeAgentError(f"{path}: {e.strerror}; a key is never overwritten, choose another name") from e
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
