"""Is this folder a bundle, whole, unchanged and signed? Every file is opened once; what was hashed is what the runtime gets."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_agent import plugin
from edge_agent.config.types import Model
from edge_agent.contracts import Head
from edge_agent.diagnose import admission, card, golden, manifest, signature
from edge_agent.diagnose.card import Card
from edge_agent.diagnose.handoff import MOST_WINDOWS
from edge_agent.errors import ModelRefused

MAX_BYTES: Mapping[str, int] = {
    manifest.MANIFEST: 16 << 10,
    manifest.SIGNATURE: signature.MAX_BYTES,
    "card.yaml": card.MAX_BYTES,
    "golden.npz": golden.MAX_BYTES,
    "model.onnx": 64 << 20,
    "model.fp32.onnx": 256 << 20,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was read and admitted. Holds the very bytes that were hashed."""

    path: Path
    card: Card
    model: bytes = field(repr=False)
    fp32: bytes | None = field(repr=False)
    golden_inputs: golden.Arrays = field(repr=False)
    golden_outputs: golden.Arrays = field(repr=False)
    hash: str  # sha256 of manifest.json: names the whole bundle
    model_hash: str  # sha256 of model.onnx
    batch: int  # most windows in one run
    inputs: Mapping[str, tuple[int, ...]]  # of the graph, behind the batch axis
    outputs: Mapping[str, tuple[int, ...]]
    signed_by: str | None  # name of the trusted key; None if nobody we know signed it
    head_config: Model

    @property
    def id(self) -> str:
        """name@version."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def tier(self) -> int:
        """The highest tier of a loop that may use it: the card's, but 0 unless a key we trust has signed it."""
        return self.card.intended.tier if self.signed_by else 0

    def head(self) -> Head:
        """The head that reads this model's outputs."""
        made: Head = plugin.load("head", self.card.head["type"]).Head(self.head_config, self.card)
        return made


def read(path: Path, *, keys: signature.Keys | None = None, dev: bool = False, limits: admission.Limits | None = None) -> Bundle:
    """Open, hash, verify and admit a bundle. `dev` takes one that nobody we trust has signed (tier 0 then). ModelRefused."""
    raw, signed_by = _files(path, keys or {}, dev)
    checked = card.parse(raw["card.yaml"], f"{path}/card.yaml")
    listed = manifest.parse(raw[manifest.MANIFEST])
    if (listed.name, listed.version) != (checked.name, checked.version):
        raise ModelRefused(f"{path}: the manifest is of {listed.name}@{listed.version}, the card of {checked.name}@{checked.version}")
    head_config = _head_config(checked, f"{path}/card.yaml")
    limits = limits or admission.Limits()
    batched = admission.admit(raw["model.onnx"], checked, f"{path}/model.onnx", limits)
    if "model.fp32.onnx" in raw:
        admission.admit(raw["model.fp32.onnx"], checked, f"{path}/model.fp32.onnx", limits)
    inputs, outputs = golden.split(golden.load(raw["golden.npz"], f"{path}/golden.npz"), checked, f"{path}/golden.npz")
    return Bundle(
        path=path,
        card=checked,
        model=raw["model.onnx"],
        fp32=raw.get("model.fp32.onnx"),
        golden_inputs=inputs,
        golden_outputs=outputs,
        hash=hashlib.sha256(raw[manifest.MANIFEST]).hexdigest(),
        model_hash=listed.files["model.onnx"].sha256,
        batch=_batch(checked) if batched else 1,
        inputs=checked.inputs(),
        outputs=checked.outputs(),
        signed_by=signed_by,
        head_config=head_config,
    )


def looks(path: Path) -> object:
    """What a folder looks like from outside, without opening a file: as long as it stays the same, what was read of it holds."""
    try:
        found = sorted(((e.name, e.stat(follow_symlinks=False)) for e in os.scandir(path)), key=lambda named: named[0])
    except OSError:
        return None
    return tuple((name, s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in found)


def _batch(checked: Card) -> int:
    """As many windows as fit into 16 MiB, 64 at most: the shared memory is made for them."""
    row = 4 * sum(math.prod(shape) for shape in (*checked.inputs().values(), *checked.outputs().values()))
    return max(1, min(MOST_WINDOWS, (16 << 20) // row))


def _head_config(checked: Card, where: str) -> Model:
    try:
        module = plugin.load("head", checked.head["type"])
        config: Model = module.Config.model_validate_json(json.dumps(checked.head))
    except plugin.PluginNotFound as e:
        raise ModelRefused(f"{where}: head.type: {e}") from e
    except ValidationError as e:
        raise ModelRefused("\n".join(f"{where}: head.{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors())) from e
    return config


def _files(path: Path, keys: signature.Keys, dev: bool) -> tuple[dict[str, bytes], str | None]:
    """All files' bytes, after the signature and the hashes were checked; and who signed."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        cure = "name a bundle's folder" if isinstance(e, FileNotFoundError) else "name the bundle's own folder, not a link or a file"
        raise ModelRefused(f"{path}: cannot be opened as a folder: {e.strerror}; {cure}") from e
    try:
        present = set(os.listdir(folder)) - manifest.COMPANIONS  # noqa: PTH208 - by descriptor: the folder cannot be swapped
        if manifest.MANIFEST not in present:
            raise ModelRefused(f"{path}: there is no {manifest.MANIFEST}; this is not a bundle")
        raw = {manifest.MANIFEST: _slurp(folder, path, manifest.MANIFEST)}
        signed_by = _signed_by(folder, path, raw[manifest.MANIFEST], present, keys)
        if signed_by is None and not dev:
            raise ModelRefused(f"{path}: not signed by a trusted key; sign it, or put the signer's public key into the trust folder")
        listed = manifest.parse(raw[manifest.MANIFEST], f"{path}/{manifest.MANIFEST}")
        _same_names(path, present - {manifest.MANIFEST, manifest.SIGNATURE}, set(listed.files))
        for name, entry in listed.files.items():
            raw[name] = _slurp(folder, path, name)
            if len(raw[name]) != entry.size or hashlib.sha256(raw[name]).hexdigest() != entry.sha256:
                raise ModelRefused(f"{path}/{name}: is not what the manifest says (size or hash); install the bundle again")
        return raw, signed_by
    finally:
        os.close(folder)


def _signed_by(folder: int, path: Path, raw: bytes, present: set[str], keys: signature.Keys) -> str | None:
    if manifest.SIGNATURE not in present:
        return None
    return signature.verify(raw, _slurp(folder, path, manifest.SIGNATURE), keys, f"{path}/{manifest.SIGNATURE}")


def _same_names(path: Path, present: set[str], listed: set[str]) -> None:
    if foreign := sorted(present - listed):
        raise ModelRefused(f"{path}: {', '.join(foreign[:5])} does not belong to the bundle; remove it")
    if missing := sorted(listed - present):
        raise ModelRefused(f"{path}: {', '.join(missing)} is missing; install the bundle again")


def _slurp(folder: int, path: Path, name: str) -> bytes:
    """A file's bytes. Neither a link of any kind nor anything but a file of bounded size."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as e:
        raise ModelRefused(f"{path}/{name}: cannot be opened as a plain file: {e.strerror}") from e
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
            raise ModelRefused(f"{path}/{name}: not a plain file with one name (a device, or a hard link)")
        if info.st_size > MAX_BYTES[name]:
            raise ModelRefused(f"{path}/{name}: {info.st_size} bytes; at most {MAX_BYTES[name]} are admitted")
        raw: bytes = file.read(MAX_BYTES[name] + 1)
    if len(raw) > MAX_BYTES[name]:
        raise ModelRefused(f"{path}/{name}: more than {MAX_BYTES[name]} bytes")
    return raw


def refuse_tier(bundle: Bundle, loop: str, tier: int) -> None:
    """ModelRefused if a loop of this tier may not use the bundle."""
    if tier > bundle.tier:
        reason = f"its card allows tier {bundle.card.intended.tier}" if bundle.signed_by else "it is not signed by a trusted key"
        raise ModelRefused(f"loops.{loop}: tier {tier} may not use {bundle.id}: {reason}")


def describe(bundle: Bundle) -> dict[str, Any]:
    """What `models inspect` and the ledger show of a bundle. JSON-able."""
    return {
        "model": bundle.id,
        "hash": bundle.hash,
        "model_hash": bundle.model_hash,
        "signed_by": bundle.signed_by,
        "tier": bundle.tier,
        "head": bundle.card.head["type"],
        "rows": bundle.card.window.rows,
        "every_s": bundle.card.window.every,
        "roles": [role.model_dump() for role in bundle.card.roles],
        "intended": bundle.card.intended.model_dump(),
        "metrics": bundle.card.metrics.model_dump(),
        "provenance": bundle.card.provenance.model_dump(),
        "bytes": {"model": len(bundle.model), "fp32": len(bundle.fp32) if bundle.fp32 else None},
    }
