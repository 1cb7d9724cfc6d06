"""How is a figure drawn into a page that loads nothing? Plain SVG, as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 220, 46, 30


def bars(title: str, items: Sequence[tuple[str, float]], *, top: float | None = None, limit: float | None = None) -> str:
    """Horizontal bars with their values; `limit` is a dashed line."""
    most = top or max([v for _, v in items] + ([limit] if limit is not None else []), default=1.0) or 1.0
    row, left = 20, 150
    height = 30 + row * len(items) + 6
    parts = []
    for i, (name, value) in enumerate(items):
        y, wide = 30 + i * row, max(0.0, min(value / most, 1.0)) * (_WIDTH - left - 60)
        parts.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{y + 2}" width="{wide:.1f}" height="{row - 6}"/>')
        parts.append(f'<text x="{left + wide + 4:.1f}" y="{y + 12}">{value:.3g}</text>')
    if limit is not None:
        x = left + min(limit / most, 1.0) * (_WIDTH - left - 60)
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="26" y2="{height - 4}"/>')
    return _frame(title, "".join(parts), height)


def lines(title: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, x: str, y: str, diagonal: bool = False) -> str:
    """Curves over common axes; `diagonal` draws where x equals y."""
    points = [p for _, curve in series for p in curve] or [(0.0, 0.0)]
    x0, x1 = (0.0, 1.0) if diagonal else _span([p[0] for p in points])
    y0, y1 = (0.0, 1.0) if diagonal else _span([p[1] for p in points])

    def at(point: tuple[float, float]) -> str:
        across = _LEFT + (point[0] - x0) / (x1 - x0) * (_WIDTH - _LEFT - 12)
        down = _HEIGHT - _BOTTOM - (point[1] - y0) / (y1 - y0) * (_HEIGHT - _BOTTOM - 30)
        return f"{across:.1f},{down:.1f}"

    parts = [f'<polyline class="axis" points="{_LEFT},28 {_LEFT},{_HEIGHT - _BOTTOM} {_WIDTH - 12},{_HEIGHT - _BOTTOM}"/>']
    if diagonal:
        parts.append(f'<polyline class="limit" points="{at((0, 0))} {at((1, 1))}"/>')
    for i, (name, curve) in enumerate(series):
        parts.append(f'<polyline class="curve c{i % 4}" points="{" ".join(map(at, curve))}"/>')
        parts += [
            f'<circle class="c{i % 4}" r="2.5" cx="{at(p).split(",")[0]}" cy="{at(p).split(",")[1]}"/>' for p in curve if len(curve) < 40
        ]
        parts.append(f'<text class="c{i % 4}" x="{_LEFT + 8}" y="{42 + 14 * i}">{escape(name)}</text>')
    parts.append(f'<text x="{_WIDTH - 12}" y="{_HEIGHT - 16}" text-anchor="end">{escape(x)} {x0:.3g} .. {x1:.3g}</text>')
    parts.append(f'<text x="4" y="{_HEIGHT - 4}">{escape(y)} {y0:.3g} .. {y1:.3g}</text>')
    return _frame(title, "".join(parts), _HEIGHT)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _frame(title: str, body: str, height: int) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">'
        f'<text class="title" x="4" y="16">{escape(title)}</text>{body}</svg>'
    )
