"""How does a bundle travel as one file? A tar of the manifest's files, compressed with zstd; the same bundle gives the same bytes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import zstandard

from edge_agent.diagnose import bundle, manifest
from edge_agent.errors import ModelRefused
from edge_agent.lifecycle.durable import replace_file, write_file

_MAX_BYTES = sum(bundle.MAX_BYTES.values()) + (64 << 10)  # unpacked, with the tar's own blocks


def pack(folder: Path, archive: Path) -> None:
    """Write a bundle that is whole and admitted into one file; companions (recipe, README) stay behind. ModelRefused."""
    bundle.read(folder, dev=True)
    listed = manifest.parse((folder / manifest.MANIFEST).read_bytes())
    names = [manifest.MANIFEST, *sorted(listed.files)]
    if (folder / manifest.SIGNATURE).is_file():
        names.insert(1, manifest.SIGNATURE)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            raw = (folder / name).read_bytes()
            entry = tarfile.TarInfo(name)  # its defaults are no owner, time 0, mode 0644
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    replace_file(archive, zstandard.ZstdCompressor(level=12).compress(plain.getvalue()))


def unpack(archive: Path, folder: Path) -> None:
    """Write an archive's files into an empty folder: plain files of the known names, bounded, nothing else. ModelRefused."""
    raw = _decompress(archive)
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            for entry in tar:
                if not entry.isreg() or entry.name not in bundle.MAX_BYTES or entry.size > bundle.MAX_BYTES[entry.name]:
                    raise ModelRefused(f"{archive}: {entry.name[:100]!r} does not belong into a bundle")
                if (folder / entry.name).exists():
                    raise ModelRefused(f"{archive}: {entry.name} stands twice")
                file = tar.extractfile(entry)
                write_file(folder / entry.name, file.read() if file else b"")
    except (tarfile.TarError, ValueError, EOFError) as e:
        raise ModelRefused(f"{archive}: damaged: {e}") from e


def _decompress(archive: Path) -> bytes:
    try:
        with archive.open("rb") as file, zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file) as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as e:
        raise ModelRefused(f"{archive}: {e.strerror}") from e
    except zstandard.ZstdError as e:
        raise ModelRefused(f"{archive}: not a packed bundle: {e}") from e
    if len(raw) > _MAX_BYTES:
        raise ModelRefused(f"{archive}: more than {_MAX_BYTES} bytes when unpacked")
    return raw
