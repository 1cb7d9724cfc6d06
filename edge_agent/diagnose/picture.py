"""How does a camera's picture become the model's input? One function for training, evaluation and the live agent: no skew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.diagnose.card import Picture
from edge_agent.messages import Diagnosis, changed

Pixels = NDArray[np.uint8]


def fits(picture: Pixels, spec: Picture) -> bool:
    """Whether nothing has to be scaled or recoloured: then `fitted` costs microseconds and imports nothing."""
    return picture.shape[:2] == (spec.height, spec.width) and (1 if picture.ndim == 2 else 3) == spec.channels


def fitted(picture: Pixels, spec: Picture) -> NDArray[np.float32]:
    """uint8 [H, W] or RGB [H, W, 3] of any size to float32 [C, H, W] as the card says; values stay 0..255. ValueError.

    Smaller by areas, larger by straight lines; `crop` takes the largest centred part of the wanted shape, `letterbox` fills with 0.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.size == 0 or (picture.ndim == 3 and picture.shape[2] != 3):
        raise ValueError(f"a picture of {picture.dtype} {list(picture.shape)}; uint8 [H, W] or [H, W, 3] is wanted")
    if not fits(picture, spec):
        picture = _scaled(_recoloured(picture, spec), spec)
    planes = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return np.ascontiguousarray(planes, dtype=np.float32)


def planes(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """[C, H, W] to [C, H*W]: each colour is a channel, its pixels are the rows, as the novelty gate takes them."""
    return picture.reshape(picture.shape[0], -1)


def placed(found: Diagnosis, shape: Sequence[int], spec: Picture) -> Diagnosis:
    """Regions and heat in shares of the model's input, as shares of the picture of this shape that it was made from."""
    if spec.fit == "stretch" or (not found.regions and found.heat is None):
        return found
    (left, wide), (top, high) = _spans(shape, spec)
    regions = tuple(
        r._replace(
            left=_share((r.left - left) / wide),
            right=_share((r.right - left) / wide),
            top=_share((r.top - top) / high),
            bottom=_share((r.bottom - top) / high),
        )
        for r in found.regions
    )
    return changed(found, regions=regions, heat=None if found.heat is None else _moved(found.heat, (left, wide), (top, high)))


def _spans(shape: Sequence[int], spec: Picture) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the picture begins in the input and how far it reaches, in shares of the input: across, then down."""
    height, width = shape[:2]
    choose = max if spec.fit == "crop" else min
    scale = choose(spec.height / height, spec.width / width)
    wide, high = width * scale / spec.width, height * scale / spec.height
    return ((1 - wide) / 2, wide), ((1 - high) / 2, high)


def _moved(heat: NDArray[np.float32], across: tuple[float, float], down: tuple[float, float]) -> NDArray[np.float32]:
    """The heat of each cell of the picture; what the model did not see has none."""
    rows, columns = (
        np.floor((start + reach * (np.arange(n) + 0.5) / n) * n).astype(int)
        for n, (start, reach) in zip(heat.shape, (down, across), strict=True)
    )
    seen = ((rows >= 0) & (rows < heat.shape[0]))[:, None] & ((columns >= 0) & (columns < heat.shape[1]))
    found = heat[np.clip(rows, 0, heat.shape[0] - 1)][:, np.clip(columns, 0, heat.shape[1] - 1)]
    return np.where(seen, found, np.float32(0))


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as e:
        raise ValueError("a picture of another size or colour needs OpenCV; install it with: pip install 'edge-agent[vision]'") from e
    return cv2


def _recoloured(picture: Pixels, spec: Picture) -> Pixels:
    if (picture.ndim == 2) == (spec.channels == 1):
        return picture
    cv2 = _cv2()
    code = cv2.COLOR_RGB2GRAY if spec.channels == 1 else cv2.COLOR_GRAY2RGB
    return np.asarray(cv2.cvtColor(picture, code), dtype=np.uint8)


def _scaled(picture: Pixels, spec: Picture) -> Pixels:
    if spec.fit == "crop":
        picture = _cropped(picture, spec)
    if spec.fit != "letterbox":
        return _resized(picture, spec.height, spec.width)
    height, width = picture.shape[:2]
    share = min(spec.height / height, spec.width / width)
    inner = _resized(picture, max(1, round(height * share)), max(1, round(width * share)))
    canvas = np.zeros((spec.height, spec.width, *picture.shape[2:]), dtype=np.uint8)
    top, left = (spec.height - inner.shape[0]) // 2, (spec.width - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def _cropped(picture: Pixels, spec: Picture) -> Pixels:
    height, width = picture.shape[:2]
    share = min(height / spec.height, width / spec.width)
    inner_height, inner_width = max(1, round(spec.height * share)), max(1, round(spec.width * share))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    return picture[top : top + inner_height, left : left + inner_width]


def _resized(picture: Pixels, height: int, width: int) -> Pixels:
    if picture.shape[:2] == (height, width):
        return picture
    cv2 = _cv2()
    smaller = height <= picture.shape[0] and width <= picture.shape[1]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), dtype=np.uint8)
