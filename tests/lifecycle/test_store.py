"""Is a model put into use whole or not at all, and can one go back?"""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from edge_agent.diagnose import manifest, signature
from edge_agent.errors import EdgeAgentError, ModelRefused
from edge_agent.lifecycle import pack, sign, store

SHIPPED = Path(__file__).parents[2] / "models" / "demo-pump"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of a shipped bundle."""
    return copy(tmp_path / "source")


def copy(folder: Path, version: str | None = None) -> Path:
    folder.mkdir()
    for file in SHIPPED.iterdir():
        if file.is_file() and file.name != manifest.SIGNATURE:
            shutil.copy(file, folder)
    if version:
        card = (folder / "card.yaml").read_text()
        old = next(line for line in card.splitlines() if line.startswith("version:"))
        (folder / "card.yaml").write_text(card.replace(old, f"version: {version}"))
        files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name in manifest.REQUIRED | manifest.OPTIONAL}
        (folder / manifest.MANIFEST).write_bytes(manifest.build("demo-pump", version, files))
    return folder


def names(folder: Path) -> set[str]:
    return {f.name for f in folder.iterdir()}


def test_a_packed_bundle_is_the_same_bytes_every_time_and_without_the_recipe(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack.pack(source, tmp_path / f"{name}.tar.zst")
    assert (tmp_path / "a.tar.zst").read_bytes() == (tmp_path / "b.tar.zst").read_bytes()
    (tmp_path / "out").mkdir()
    pack.unpack(tmp_path / "a.tar.zst", tmp_path / "out")
    assert "train.py" not in names(tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert file.read_bytes() == (source / file.name).read_bytes()


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for entry, raw in entries:
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    path.write_bytes(zstandard.compress(plain.getvalue()))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


BAD: dict[str, Any] = {
    "a path that leads out": [(entry("../card.yaml"), b"x")],
    "an absolute path": [(entry("/etc/passwd"), b"x")],
    "a symbolic link": [(entry("card.yaml", tarfile.SYMTYPE, "/etc/passwd"), b"")],
    "a hard link": [(entry("card.yaml", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "a device": [(entry("card.yaml", tarfile.CHRTYPE), b"")],
    "a foreign file": [(entry("hook.py"), b"import os")],
    "a file twice": [(entry("card.yaml"), b"a"), (entry("card.yaml"), b"b")],
    "a file beyond its bound": [(entry("manifest.json"), b" " * 20_000)],
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_archive_is_refused(what: str, tmp_path: Path) -> None:
    made = archive(tmp_path / "bad.tar.zst", *BAD[what])
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelRefused, match=r"bad\.tar\.zst"):
        pack.unpack(made, tmp_path / "out")


@pytest.mark.parametrize("raw", [b"", b"not zstd", zstandard.compress(b"not a tar" * 1000), zstandard.compress(b"\0" * 100)[:-3]])
def test_noise_is_no_archive(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(raw)
    (tmp_path / "models").mkdir()
    with pytest.raises(ModelRefused):
        store.install(tmp_path / "bad", tmp_path / "models", keys={}, dev=True)
    assert names(tmp_path / "models") == set()


def test_a_signed_bundle_is_installed_and_found_by_name(source: Path, tmp_path: Path) -> None:
    secret, _, _ = sign.keygen(tmp_path / "keys", "acme")
    sign.sign(source, secret)
    pack.pack(source, tmp_path / "pump.tar.zst")
    models = tmp_path / "models"
    found = store.install(tmp_path / "pump.tar.zst", models, keys=signature.trusted(tmp_path / "keys"))
    assert found.signed_by == "acme"
    path = store.resolve("demo-pump", beside=tmp_path, models=[models])
    assert path == models / "demo-pump" / f"1.0.0-{found.hash[:12]}"
    assert [m.name for m in store.listing(models)] == ["demo-pump"]


def test_an_unsigned_bundle_is_not_installed(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="not signed"):
        store.install(source, tmp_path / "models", keys={})
    assert names(tmp_path / "models") == set()


def test_a_newer_version_takes_over_and_rollback_goes_back(source: Path, tmp_path: Path) -> None:
    models, newer = tmp_path / "models", copy(tmp_path / "newer", version="1.1.0")
    first = store.install(source, models, keys={}, dev=True)
    second = store.install(newer, models, keys={}, dev=True)
    assert store.resolve("demo-pump", beside=tmp_path, models=[models]).name == f"1.1.0-{second.hash[:12]}"
    assert store.rollback("demo-pump", models) == (f"1.1.0-{second.hash[:12]}", f"1.0.0-{first.hash[:12]}")
    assert store.resolve("demo-pump", beside=tmp_path, models=[models]).name == f"1.0.0-{first.hash[:12]}"
    with pytest.raises(EdgeAgentError, match="no earlier version"):
        store.rollback("demo-pump", models)


def test_installing_the_same_bundle_twice_changes_nothing(source: Path, tmp_path: Path) -> None:
    for _ in range(2):
        store.install(source, tmp_path / "models", keys={}, dev=True)
    (found,) = store.listing(tmp_path / "models")
    assert found.state.previous == []


def test_two_installations_at_once_are_refused(source: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    with store._alone(models), pytest.raises(EdgeAgentError, match="another process"):
        store.install(source, models, keys={}, dev=True)


@pytest.mark.parametrize("current", ["../../etc", "/etc", "", ".."])
def test_a_state_that_names_a_folder_elsewhere_is_refused(current: str, tmp_path: Path) -> None:
    (tmp_path / "pump").mkdir()
    (tmp_path / "pump" / store.STATE).write_text(json.dumps({"current": current}))
    with pytest.raises(EdgeAgentError, match="names a folder elsewhere"):
        store.read_state(tmp_path / "pump")


def test_a_model_that_is_nowhere_is_refused_with_the_places_that_were_tried(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="no bundle at"):
        store.resolve("ghost", beside=tmp_path, models=[tmp_path / "models"])


# ---------------------------------------------------------------- keys


def test_a_private_key_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    secret, public, key = sign.keygen(tmp_path, "acme")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert list(signature.trusted(tmp_path)) == [key]
    assert public.name == "acme.pem"
    with pytest.raises(EdgeAgentError, match="never overwritten"):
        sign.keygen(tmp_path, "acme")


def test_a_damaged_bundle_is_not_signed(source: Path, tmp_path: Path) -> None:
    secret, _, _ = sign.keygen(tmp_path, "acme")
    (source / "card.yaml").write_text("changed")
    with pytest.raises(ModelRefused, match="not what the manifest says"):
        sign.sign(source, secret)


def test_a_file_that_is_no_key_signs_nothing(source: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.key").write_text("junk")
    with pytest.raises(EdgeAgentError, match="not a private key"):
        sign.sign(source, tmp_path / "junk.key")
