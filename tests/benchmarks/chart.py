"""Horizontal bars as SVG text, the same for the same values, so that a test can compare a committed figure."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

OURS, THEIRS, INK = "#1f5fa8", "#c9ced6", "#1a1a1a"
ROW, GAP, BARS, VALUE, FONT = 20, 34, 450, 60, 13
CHARACTER = 7.4  # width of a bold one


class Bar(NamedTuple):
    """A value with its name; ``error`` is drawn as a line on both sides of the end."""

    name: str
    value: float
    error: float = 0.0
    ours: bool = False


def bars(panels: Sequence[tuple[str, Sequence[Bar]]], unit: str) -> str:
    """One panel below the other, each with its bars from the largest to the smallest; all begin at zero."""
    largest = max(bar.value + bar.error for _, group in panels for bar in group)
    left = 8 + math.ceil(CHARACTER * max(len(bar.name) for _, group in panels for bar in group))
    width, scale, y, parts = left + BARS + VALUE, BARS / largest, 0.0, []
    for title, group in panels:
        y += GAP
        parts.append(f'<text x="0" y="{y - 10:g}" font-weight="bold">{escape(title)}: {escape(unit)}</text>')
        for bar in sorted(group, key=lambda bar: -bar.value):
            parts.append(_bar(bar, left, y, scale))
            y += ROW
    style = f'font-family="sans-serif" font-size="{FONT}" fill="{INK}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 6:g}" width="{width}" {style}>'
    ground = f'<rect width="{width}" height="{y + 6:g}" fill="white"/>'
    return "\n".join([head, ground, *parts, "</svg>\n"])


def _bar(bar: Bar, left: int, y: float, scale: float) -> str:
    end, low, high = (left + scale * value for value in (bar.value, bar.value - bar.error, bar.value + bar.error))
    middle, (colour, weight) = y + ROW / 2, (OURS, "bold") if bar.ours else (THEIRS, "normal")
    baseline = f"{middle + FONT / 3:.1f}"
    parts = [
        f'<text x="{left - 8}" y="{baseline}" text-anchor="end" font-weight="{weight}">{escape(bar.name)}</text>',
        f'<rect x="{left}" y="{y + 3:g}" width="{end - left:.1f}" height="{ROW - 6}" fill="{colour}"/>',
        f'<text x="{high + 6:.1f}" y="{baseline}" font-weight="{weight}">{bar.value:.2f}</text>',
    ]
    if bar.error:
        parts.append(f'<path d="M{low:.1f} {middle:g}H{high:.1f}" stroke="{INK}"/>')
    return "\n".join(parts)
