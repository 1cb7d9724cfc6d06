"""Is this picture evidence? Too dark, too bright, blurred, frozen, obstructed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.camera.settings import CameraTag, Watch
from edge_agent.messages import Quality

Pixels = NDArray[np.uint8]
_MOST = 256  # pixels a side that are looked at: a camera's pixels say the same in thousands


@dataclass(frozen=True, slots=True)
class Sight:
    """What was measured, and what follows."""

    quality: int
    why: str  # "ok", or what is wrong
    mean: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0


def cut(picture: Pixels, tag: CameraTag) -> Pixels | None:
    """The tag's region, blackened where masked; a copy of its own. None where the region lies outside the picture."""
    left, top, width, height = tag.roi or (0, 0, picture.shape[1], picture.shape[0])
    if left + width > picture.shape[1] or top + height > picture.shape[0]:
        return None
    region = np.array(picture[top : top + height, left : left + width])
    for x, y, w, h in tag.mask:
        region[y : y + h, x : x + w] = 0
    return region


@dataclass(slots=True)
class Watcher:
    """Judges one tag's pictures, one after the other."""

    tag: CameraTag
    _last: Pixels | None = field(default=None, repr=False)
    _same_since_ns: int = 0

    def judge(self, picture: Pixels, mono_ns: int) -> Sight:
        """`picture` is the tag's region as `cut` made it."""
        seen, mask = self._sample(picture)
        if not mask.any():
            return Sight(int(Quality.BAD), "everything is masked")
        plain = seen[mask].astype(np.float32)
        mean, contrast, sharpness = float(plain.mean()), float(plain.std()), _sharpness(seen, mask)
        quality, why = self._verdict(self.tag.watch, mean, contrast, sharpness, self._still_s(seen, mono_ns))
        return Sight(int(quality), why, mean, contrast, sharpness)

    def _sample(self, picture: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
        """Every n-th pixel as grey, and which of them are not masked."""
        step = max(1, -(-max(picture.shape[:2]) // _MOST))
        mask = np.ones(picture.shape[:2], dtype=np.bool_)
        for x, y, w, h in self.tag.mask:
            mask[y : y + h, x : x + w] = False
        grey = picture if picture.ndim == 2 else picture[..., 1]  # green carries most of the light
        return grey[::step, ::step], mask[::step, ::step]

    def _still_s(self, seen: Pixels, mono_ns: int) -> float:
        if self._last is None or not np.array_equal(self._last, seen):
            self._last, self._same_since_ns = seen.copy(), mono_ns
        return (mono_ns - self._same_since_ns) / 1e9

    @staticmethod
    def _verdict(watch: Watch, mean: float, contrast: float, sharpness: float, still_s: float) -> tuple[Quality, str]:
        if watch.frozen is not None and still_s > watch.frozen:
            return Quality.BAD | Quality.FLAT, f"frozen: not one pixel different for {still_s:.1f} s"
        if mean < watch.dark:
            return Quality.BAD, f"too dark: mean {mean:.1f}"
        if mean > watch.bright:
            return Quality.BAD, f"too bright: mean {mean:.1f}"
        if contrast < watch.contrast:
            return Quality.BAD, f"obstructed: contrast {contrast:.1f}"
        if watch.sharpness is not None and sharpness < watch.sharpness:
            return Quality.UNCERTAIN, f"blurred: sharpness {sharpness:.1f}"
        return Quality.GOOD, "ok"


def _sharpness(seen: Pixels, mask: NDArray[np.bool_]) -> float:
    """Variance of the Laplacian where it touches nothing that is masked."""
    if min(seen.shape) < 3:
        return 0.0
    grey = seen.astype(np.float32)
    inner = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    free = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:] & mask[1:-1, 1:-1]
    return float(inner[free].var()) if free.any() else 0.0
