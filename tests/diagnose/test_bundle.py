"""Which folders are bundles, and which are refused with a reason?"""

import json
import os
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_agent.diagnose import bundle, golden, signature
from edge_agent.errors import ModelRefused
from edge_agent.lifecycle import sign


def test_a_good_bundle_is_read(folder: Path) -> None:
    found = bundle.read(folder, dev=True)
    assert found.id == "tiny@1.0.0"
    assert found.batch == 64
    assert found.signed_by is None
    assert found.golden_inputs["window"].shape == (4, 3, 8)


def test_companions_beside_a_bundle_are_never_opened(folder: Path) -> None:
    (folder / "train.py").symlink_to("/dev/zero")
    (folder / "README.md").write_text("how it was made")
    assert bundle.read(folder, dev=True).id == "tiny@1.0.0"


def append(folder: Path, name: str, raw: bytes = b" ") -> None:
    with (folder / name).open("ab") as file:
        file.write(raw)


def flip(folder: Path, tiny: Any) -> None:
    raw = bytearray((folder / "model.onnx").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "model.onnx").write_bytes(raw)


def linked(folder: Path, tiny: Any) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def hard_linked(folder: Path, tiny: Any) -> None:
    os.link(folder / "model.onnx", folder.parent / "second-name.onnx")


def fifo(folder: Path, tiny: Any) -> None:
    (folder / "golden.npz").unlink()
    os.mkfifo(folder / "golden.npz")


def edit_card(old: str, new: str) -> Any:
    def change(folder: Path, tiny: Any) -> None:
        text = (folder / "card.yaml").read_text()
        assert old in text
        (folder / "card.yaml").write_text(text.replace(old, new))
        tiny.reseal(folder)

    return change


def manifest_of(**changes: Any) -> Any:
    def change(folder: Path, tiny: Any) -> None:
        found = json.loads((folder / "manifest.json").read_text()) | changes
        (folder / "manifest.json").write_text(json.dumps(found))

    return change


def escape(folder: Path, tiny: Any) -> None:
    found = json.loads((folder / "manifest.json").read_text())
    found["files"]["../../etc/passwd"] = found["files"]["card.yaml"]
    (folder / "manifest.json").write_text(json.dumps(found))


def golden_of(**arrays: Any) -> Any:
    def change(folder: Path, tiny: Any) -> None:
        kept = golden.load((folder / "golden.npz").read_bytes())
        made = kept | {name: np.asarray(a, dtype=np.float32) for name, a in arrays.items() if a is not None}
        (folder / "golden.npz").write_bytes(golden.dump({n: a for n, a in made.items() if arrays.get(n, 0) is not None}))
        tiny.reseal(folder)

    return change


def npz(name: str, raw: bytes) -> Any:
    def change(folder: Path, tiny: Any) -> None:
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, raw)
        (folder / "golden.npz").write_bytes(out.getvalue())
        tiny.reseal(folder)

    return change


def npy(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def raw_golden(raw: bytes) -> Any:
    def change(folder: Path, tiny: Any) -> None:
        (folder / "golden.npz").write_bytes(raw)
        tiny.reseal(folder)

    return change


def large(folder: Path, tiny: Any) -> None:
    os.truncate(folder / "model.onnx", (64 << 20) + 1)


PICKLED = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n(S'true'\ntR.")
HUGE = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }")

BAD: dict[str, tuple[Any, str]] = {
    "a flipped bit in the graph": (flip, "model.onnx: is not what the manifest says"),
    "a byte more in the card": (lambda f, t: append(f, "card.yaml"), "card.yaml: is not what the manifest says"),
    "a symbolic link": (linked, "cannot be opened as a plain file"),
    "a hard link": (hard_linked, "hard link"),
    "a pipe": (fifo, "not a plain file"),
    "a foreign file": (lambda f, t: (f / "hook.py").write_text("import os"), "hook.py does not belong"),
    "a foreign folder": (lambda f, t: (f / "__pycache__").mkdir(), "__pycache__ does not belong"),
    "a missing file": (lambda f, t: (f / "golden.npz").unlink(), "golden.npz is missing"),
    "no manifest": (lambda f, t: (f / "manifest.json").unlink(), "not a bundle"),
    "a manifest that is not JSON": (lambda f, t: append(f, "manifest.json", b"}"), "manifest.json: not JSON"),
    "a manifest with a key twice": (
        lambda f, t: (f / "manifest.json").write_text('{"format": 1, "format": 1}'),
        "a key stands twice",
    ),
    "a manifest of another format": (manifest_of(format=2), "format"),
    "a manifest that names a file elsewhere": (escape, "files.../../etc/passwd"),
    "a manifest of another model": (manifest_of(name="other"), "the manifest is of other@1.0.0, the card of tiny@1.0.0"),
    "a manifest beyond the bound": (lambda f, t: append(f, "manifest.json", b" " * 20_000), "at most 16384"),
    "a graph beyond the bound": (large, "at most 67108864"),
    "a card with an unknown key": (edit_card("intended:", "intented: 1\nintended:"), "intented"),
    "a card that is not YAML": (edit_card("format: 1", "format: [1"), "card.yaml"),
    "a card with NaN": (edit_card("alarm: 0.5", "alarm: .nan"), "alarm"),
    "a card with a duration without unit": (edit_card("every: 1 s", "every: 1"), "no unit"),
    "a card with reversed calibration": (edit_card("raw: [0.0, 10.0]", "raw: [10.0, 0.0]"), "must rise strictly"),
    "a card of an unknown head": (edit_card("type: anomaly", "type: oracle"), "no head is called 'oracle'"),
    "a card with an unknown key of the head": (edit_card("type: anomaly", "type: anomaly\n  magic: 1"), "magic"),
    "a card with fewer roles than the graph has channels": (
        edit_card("- role: current\n  unit: A\n", ""),
        "the card says [N, 2, 8]",
    ),
    "a card with one role twice": (edit_card("role: current", "role: flow"), "stands twice"),
    "a card of tier 3": (edit_card("tier: 1", "tier: 3"), "tier"),
    "a card with an alias bomb": (edit_card("format: 1", "x: &a [1,1,1]\ny: [*a,*a,*a]\nformat: 1"), "x"),
    "golden vectors of the wrong shape": (golden_of(out_score=[[1.0]] * 4), "out_score has shape [4, 1]"),
    "golden vectors of another batch": (golden_of(out_score=[1.0]), "expected [1, 3, 8]"),
    "golden vectors with NaN": (golden_of(out_score=[1, 2, np.nan, 3]), "NaN"),
    "golden vectors that lack an output": (golden_of(out_score=None), "the card asks for"),
    "golden vectors nobody asked for": (golden_of(out_more=[1, 2, 3, 4]), "the card asks for"),
    "golden vectors that are a pickle": (npz("in_window.npy", PICKLED), "not float32"),
    "golden vectors that say 4 TiB": (npz("in_window.npy", HUGE), "impossible shape"),
    "golden vectors that unpack to 64 MiB": (npz("in_window.npy", bytes(64 << 20)), "33554432 bytes"),
    "golden vectors with a damaged header": (npz("in_window.npy", npy("{'descr': __import__('os')}")), "damaged header"),
    "golden vectors that are no zip": (raw_golden(b"PK\x03\x04 nothing"), "not an .npz"),
    "a signature that is not JSON": (lambda f, t: (f / "manifest.sig").write_text("trust me"), "manifest.sig: malformed"),
    "a signature beyond the bound": (lambda f, t: (f / "manifest.sig").write_text(" " * 2000), "at most 1024"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_bundle_is_refused_with_its_reason(what: str, folder: Path, tiny: SimpleNamespace) -> None:
    spoil, reason = BAD[what]
    spoil(folder, tiny)
    with pytest.raises(ModelRefused) as refused:
        bundle.read(folder, dev=True)
    assert reason in str(refused.value)


def test_a_link_to_a_bundle_is_refused(folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    with pytest.raises(ModelRefused, match="not a link"):
        bundle.read(link, dev=True)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="No such file"):
        bundle.read(tmp_path / "none", dev=True)


# ---------------------------------------------------------------- signatures


@pytest.fixture
def keys(tmp_path: Path) -> SimpleNamespace:
    secret, _, _ = sign.keygen(tmp_path / "keys", "acme")
    other, _, _ = sign.keygen(tmp_path / "others", "mallory")
    return SimpleNamespace(secret=secret, other=other, trusted=signature.trusted(tmp_path / "keys"))


def test_an_unsigned_bundle_is_refused(folder: Path) -> None:
    with pytest.raises(ModelRefused, match="not signed by a trusted key"):
        bundle.read(folder)


def test_an_unsigned_bundle_of_tier_1_serves_tier_0_only(folder: Path) -> None:
    found = bundle.read(folder, dev=True)
    assert found.tier == 0
    bundle.refuse_tier(found, "p1", 0)
    with pytest.raises(ModelRefused, match="not signed by a trusted key"):
        bundle.refuse_tier(found, "p1", 1)


def test_a_signed_bundle_says_who_signed_it_and_keeps_its_tier(folder: Path, keys: SimpleNamespace) -> None:
    sign.sign(folder, keys.secret)
    found = bundle.read(folder, keys=keys.trusted)
    assert (found.signed_by, found.tier) == ("acme", 1)
    with pytest.raises(ModelRefused, match="its card allows tier 1"):
        bundle.refuse_tier(found, "p1", 2)


def test_a_stranger_s_signature_counts_as_none(folder: Path, keys: SimpleNamespace) -> None:
    sign.sign(folder, keys.other)
    with pytest.raises(ModelRefused, match="not signed by a trusted key"):
        bundle.read(folder, keys=keys.trusted)
    assert bundle.read(folder, keys=keys.trusted, dev=True).signed_by is None


def test_a_changed_manifest_under_an_old_signature_is_refused_even_in_dev(
    folder: Path, tiny: SimpleNamespace, keys: SimpleNamespace
) -> None:
    sign.sign(folder, keys.secret)
    edit_card("use: tests", "use: anything")(folder, tiny)
    with pytest.raises(ModelRefused, match="changed after it was signed"):
        bundle.read(folder, keys=keys.trusted, dev=True)


def test_a_foreign_signature_under_a_trusted_key_s_name_is_refused(folder: Path, keys: SimpleNamespace) -> None:
    sign.sign(folder, keys.other)
    forged = json.loads((folder / "manifest.sig").read_text()) | {"key": next(iter(keys.trusted))}
    (folder / "manifest.sig").write_text(json.dumps(forged) + "\n")
    with pytest.raises(ModelRefused, match="is wrong"):
        bundle.read(folder, keys=keys.trusted)


def test_a_file_in_the_trust_folder_that_is_no_key_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("hello")
    with pytest.raises(ModelRefused, match="not a public key"):
        signature.trusted(tmp_path)
