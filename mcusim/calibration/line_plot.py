"""Line plots as SVG of a few kilobytes, for the pages of ``docs/``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_plot"]

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 28, 44
_COLORS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7c3aed")

_Points = Sequence[tuple[float, float]]


def line_plot(title: str, x_label: str, y_label: str, series: Mapping[str, _Points]) -> str:
    """Draw series over a common axis, the vertical one from zero.

    Args:
        title: of the plot.
        x_label: what the horizontal axis counts.
        y_label: what the vertical axis counts.
        series: points in order of x, by name; up to four.

    Returns:
        An SVG document.
    """
    xs = [x for points in series.values() for x, _ in points]
    left, right = min(xs), max(xs)
    step = _step(max(y for points in series.values() for _, y in points))
    top = step * math.ceil(max(y for points in series.values() for _, y in points) / step)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        return _LEFT + across, _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_WIDTH / 2, 16, title, "middle"),
        _text(_WIDTH / 2, _HEIGHT - 8, x_label, "middle"),
        f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>",
    ]
    for tick in range(round(top / step) + 1):
        x, y = place(left, tick * step)
        lines.append(f'<path d="M{x:.0f} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        lines.append(_text(x - 6, y + 4, f"{tick * step:g}", "end"))
    across = _step(right - left)
    for tick in range(math.ceil(left / across), math.floor(right / across) + 1):
        x, y = place(tick * across, 0)
        lines.append(f'<path d="M{x:.1f} {y:.0f}v4" stroke="#444"/>')
        lines.append(_text(x, y + 17, f"{tick * across:g}", "middle"))
    for position, (name, points) in enumerate(series.items()):
        color = _COLORS[position]
        path = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in points)
        lines.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if len(series) > 1:
            y = _TOP + 14 + 16 * position
            lines.append(f'<path d="M{_WIDTH - 190} {y - 4}h20" stroke="{color}"/>')
            lines.append(_text(_WIDTH - 164, y, name, "start"))
    return "\n".join([*lines, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _step(span: float) -> float:
    """A round step that divides a span into four to eight."""
    magnitude: float = 10.0 ** math.floor(math.log10(span / 4))
    return next(step * magnitude for step in (1, 2, 2.5, 5, 10) if span / (step * magnitude) <= 8)
