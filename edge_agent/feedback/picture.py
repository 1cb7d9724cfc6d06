"""How does a picture go into the ledger? As a PNG that loses nothing, or a JPEG where the card says so; small too, and with what was found
drawn into it. Pure; for another thread than the event loop's: a large picture takes a tenth of a second."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from edge_agent.messages import Diagnosis, Region

Pixels = NDArray[np.uint8]
_SIDE = 96  # of a thumbnail
_LEVEL = 3
_HEAT = 0.5  # share of the heat's colour where it is highest
_BOX = np.array([255, 40, 40], np.uint8)


def encode(picture: Pixels, diagnosis: Diagnosis, *, lossy: bool = False) -> dict[str, bytes]:
    """What is stored of a picture: `picture`, `thumbnail`, and `marked` where the model said where. The same picture, the same bytes."""
    found = {"picture": _jpeg(picture) if lossy else png(picture), "thumbnail": png(thumbnail(picture))}
    if diagnosis.regions or diagnosis.heat is not None:
        found["marked"] = png(marked(picture, diagnosis.regions, diagnosis.heat))
    return found


def png(picture: Pixels) -> bytes:
    """PNG (third edition): 8 bits, grey or RGB, every line filtered by "Sub" (9.2)."""
    height, width = picture.shape[:2]
    channels = 1 if picture.ndim == 2 else 3
    flat = np.ascontiguousarray(picture).reshape(height, width, channels)
    lines = np.empty((height, 1 + width * channels), np.uint8)
    lines[:, 0] = 1
    lines[:, 1 : 1 + channels] = flat[:, 0]
    lines[:, 1 + channels :] = (flat[:, 1:] - flat[:, :-1]).reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), _LEVEL)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _jpeg(picture: Pixels) -> bytes:
    import cv2

    bgr: Pixels = picture if picture.ndim == 2 else picture[..., ::-1]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(bgr), [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def thumbnail(picture: Pixels) -> Pixels:
    """At most 96 pixels a side: the mean of whole blocks."""
    step = -(-max(picture.shape[:2]) // _SIDE)
    height, width = picture.shape[0] // step * step, picture.shape[1] // step * step
    if step == 1 or not height or not width:
        return picture
    blocks = picture[:height, :width].reshape(height // step, step, width // step, step, -1)
    small: Pixels = blocks.mean(axis=(1, 3)).astype(np.uint8).reshape(height // step, width // step, *picture.shape[2:])
    return small


def marked(picture: Pixels, regions: tuple[Region, ...], heat: NDArray[np.float32] | None) -> Pixels:
    """RGB, with the heat laid over it and a frame around each region."""
    rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture.copy()
    if heat is not None and heat.size and float(heat.max()) > 0:
        rgb = _heated(rgb, heat)
    for region in regions:
        _frame(rgb, region)
    return rgb


def _heated(rgb: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """Red where it is hot; each cell of the map is a block of pixels."""
    height, width = rgb.shape[:2]
    rows = np.arange(height) * heat.shape[0] // height
    columns = np.arange(width) * heat.shape[1] // width
    share = np.clip(heat, 0, None)[rows][:, columns, None] / float(heat.max()) * _HEAT
    return np.asarray(rgb * (1 - share) + np.array([255, 0, 0]) * share, dtype=np.uint8)


def _frame(rgb: Pixels, region: Region) -> None:
    height, width = rgb.shape[:2]
    left, right = (min(max(int(edge * width), 0), width - 1) for edge in (region.left, region.right))
    top, bottom = (min(max(int(edge * height), 0), height - 1) for edge in (region.top, region.bottom))
    rgb[top, left : right + 1] = rgb[bottom, left : right + 1] = _BOX
    rgb[top : bottom + 1, left] = rgb[top : bottom + 1, right] = _BOX
