"""How is a figure drawn into a page that loads nothing? Plain SVG, as text. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

At = Callable[[tuple[float, float]], tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 260, 52, 14, 34, 40
_HEAD = 50  # of a plot with axes: title and the name of the y axis


def bars(title: str, items: Sequence[tuple[str, float]], *, top: float | None = None, limit: float | None = None) -> str:
    """Horizontal bars with their values; `limit` is a dashed line."""
    most = top or max([v for _, v in items] + ([limit] if limit is not None else []), default=1.0) or 1.0
    row, left, room = 22, 138, 64
    height = _TOP + row * len(items) + 8
    long = _WIDTH - left - room
    parts = []
    for i, (name, value) in enumerate(items):
        y, wide = _TOP + i * row, max(0.0, min(value / most, 1.0)) * long
        parts.append(f'<text class="tick" x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="rail" x="{left}" y="{y + 3}" width="{long}" height="{row - 8}" rx="3"/>')
        parts.append(f'<rect class="bar" x="{left}" y="{y + 3}" width="{wide:.1f}" height="{row - 8}" rx="3"/>')
        parts.append(f'<text x="{left + long + 8}" y="{y + 13}">{value:.3g}</text>')
    if limit is not None:
        x = left + min(limit / most, 1.0) * long
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{height - 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_TOP - 7}" text-anchor="middle">{limit:g}</text>')
    return _frame(title, "".join(parts), height)


def lines(title: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, x: str, y: str, diagonal: bool = False) -> str:
    """Curves over common axes; `diagonal` draws where x equals y."""
    points = [p for _, curve in series for p in curve] or [(0.0, 0.0)]
    across = [0.0, 0.25, 0.5, 0.75, 1.0] if diagonal else ticks([p[0] for p in points])
    down = across if diagonal else ticks([p[1] for p in points])

    def at(point: tuple[float, float]) -> tuple[float, float]:
        share_x = (point[0] - across[0]) / (across[-1] - across[0])
        share_y = (point[1] - down[0]) / (down[-1] - down[0])
        return _LEFT + share_x * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - share_y * (_HEIGHT - _BOTTOM - _HEAD)

    parts = _axes(across, down, x, y, at)
    if diagonal:
        parts.append(f'<polyline class="limit" points="{_joined([at((0, 0)), at((1, 1))])}"/>')
    for i, (name, curve) in enumerate(series):
        placed = [at(p) for p in curve]
        parts.append(f'<polyline class="curve c{i % 4}" points="{_joined(placed)}"/>')
        parts += [f'<circle class="c{i % 4}" r="3" cx="{cx:.1f}" cy="{cy:.1f}"/>' for cx, cy in placed if len(curve) < 40]
        parts.append(f'<text class="c{i % 4}" x="{_LEFT + 10}" y="{_HEAD + 12 + 15 * i}">{escape(name)}</text>')
    return _frame(title, "".join(parts), _HEIGHT)


def ticks(values: Sequence[float], about: int = 4) -> list[float]:
    """Round numbers that hold all values between the first and the last."""
    low, high = min(values), max(values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def _axes(across: Sequence[float], down: Sequence[float], x: str, y: str, at: At) -> list[str]:
    parts = []
    for value in down:
        _, cy = at((across[0], value))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{cy:.1f}" y2="{cy:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{cy + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for value in across:
        cx, _ = at((value, down[0]))
        parts.append(f'<text class="tick" x="{cx:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:.4g}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_HEIGHT - _BOTTOM}" y2="{_HEIGHT - _BOTTOM}"/>')
    parts.append(f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escape(x)}</text>')
    parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{_HEAD - 12}" text-anchor="end">{escape(y)}</text>')
    return parts


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _frame(title: str, body: str, height: int) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f'<text class="title" x="2" y="14">{escape(title)}</text>{body}</svg>'
    )
