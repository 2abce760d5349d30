"""The shapes that flags are made of.

Positions ``x y`` and sizes ``width height`` are fractions of the flag's width and height, counted from the upper hoist
corner; lengths (radius, thickness, distance) are fractions of its height; turns are degrees, clockwise.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NewType

from PIL import Image, ImageDraw

Colour = NewType("Colour", str)
Point = tuple[float, float]


@dataclass(frozen=True)
class Stripe:
    """One stripe, as wide as its weight says beside the others'."""

    colour: Colour
    weight: float


class Canvas:
    """A picture in the making, addressed in fractions of its width and height."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.height_per_width = height / width

    def points(self, *xy: float) -> list[Point]:
        """Pixel positions of fractions ``x y x y …``. Raises ValueError for an odd number of them."""
        return [(x * self.image.width, y * self.image.height) for x, y in zip(xy[::2], xy[1::2], strict=True)]

    def length(self, fraction: float) -> float:
        """Pixels of a fraction of the height."""
        return fraction * self.image.height

    def box(self, x: float, y: float, across: float, down: float) -> tuple[Point, Point]:
        """Pixel bounds of an ellipse around ``(x, y)`` by its radii."""
        [(left, top)], across, down = self.points(x, y), self.length(across), self.length(down)
        return (left - across, top - down), (left + across, top + down)

    def away(self, x: float, y: float, distance: float, degrees: float) -> Point:
        """The position at a distance from ``(x, y)`` in a direction; 0 is the fly, 90 is down."""
        angle = math.radians(degrees)
        return x + distance * self.height_per_width * math.cos(angle), y + distance * math.sin(angle)


def field(canvas: Canvas, colour: Colour) -> None:
    """The whole flag in one colour."""
    rect(canvas, colour, 0, 0, 1, 1)


def horizontal(canvas: Canvas, *stripes: Stripe) -> None:
    """Stripes from top to bottom."""
    for colour, start, size in _shares(stripes):
        rect(canvas, colour, 0, start, 1, size)


def vertical(canvas: Canvas, *stripes: Stripe) -> None:
    """Stripes from hoist to fly."""
    for colour, start, size in _shares(stripes):
        rect(canvas, colour, start, 0, size, 1)


def _shares(stripes: tuple[Stripe, ...]) -> Iterator[tuple[Colour, float, float]]:
    """Colour, start and size of each stripe."""
    total, start = sum(stripe.weight for stripe in stripes), 0.0
    if total <= 0:
        raise ValueError("stripes have weights above zero")
    for stripe in stripes:
        yield stripe.colour, start / total, stripe.weight / total
        start += stripe.weight


def rect(canvas: Canvas, colour: Colour, x: float, y: float, width: float, height: float) -> None:
    """A rectangle; at ``0 0`` it is a canton."""
    (left, top), (right, bottom) = canvas.points(x, y, x + width, y + height)
    left, top, right, bottom = (round(edge) for edge in (left, top, right, bottom))
    canvas.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=colour)


def polygon(canvas: Canvas, colour: Colour, *xy: float) -> None:
    """A filled polygon through the points ``x y x y …``."""
    canvas.draw.polygon(canvas.points(*xy), fill=colour)


def triangle(canvas: Canvas, colour: Colour, reach: float) -> None:
    """A triangle on the hoist whose tip lies ``reach`` widths into the flag."""
    polygon(canvas, colour, 0, 0, reach, 0.5, 0, 1)


def line(canvas: Canvas, colour: Colour, thickness: float, *xy: float) -> None:
    """A line with round ends and joints through the points ``x y x y …``; from corner to corner it is a bend."""
    canvas.draw.line(canvas.points(*xy), fill=colour, width=round(canvas.length(thickness)))
    for x, y in zip(xy[::2], xy[1::2], strict=True):
        disc(canvas, colour, x, y, thickness / 2)


def cross(canvas: Canvas, colour: Colour, thickness: float, x: float = 0.5, y: float = 0.5) -> None:
    """A cross through ``(x, y)``; a nordic one where ``x`` is below a half."""
    width = thickness * canvas.height_per_width
    rect(canvas, colour, x - width / 2, 0, width, 1)
    rect(canvas, colour, 0, y - thickness / 2, 1, thickness)


def saltire(canvas: Canvas, colour: Colour, thickness: float) -> None:
    """A diagonal cross."""
    line(canvas, colour, thickness, 0, 0, 1, 1)
    line(canvas, colour, thickness, 0, 1, 1, 0)


def disc(canvas: Canvas, colour: Colour, x: float, y: float, radius: float) -> None:
    """A disc."""
    oval(canvas, colour, x, y, radius, radius)


def oval(canvas: Canvas, colour: Colour, x: float, y: float, across: float, down: float) -> None:
    """An ellipse by its radii."""
    canvas.draw.ellipse(canvas.box(x, y, across, down), fill=colour)


def ring(canvas: Canvas, colour: Colour, x: float, y: float, radius: float, thickness: float) -> None:
    """A circular line, inwards from its radius."""
    canvas.draw.ellipse(canvas.box(x, y, radius, radius), outline=colour, width=round(canvas.length(thickness)))


def crescent(
    canvas: Canvas, colour: Colour, x: float, y: float, radius: float,
    bite: float = 0.8, shift: float = 0.25, turn: float = 0,
) -> None:  # fmt: skip
    """A disc without one of ``bite`` radii, ``shift`` radii away; the horns point to the fly, or as turned."""
    mask = Image.new("1", canvas.image.size)
    draw = ImageDraw.Draw(mask)
    draw.ellipse(canvas.box(x, y, radius, radius), fill=1)
    draw.ellipse(canvas.box(*canvas.away(x, y, shift * radius, turn), bite * radius, bite * radius), fill=0)
    canvas.image.paste(colour, mask=mask)


def star(
    canvas: Canvas, colour: Colour, x: float, y: float, radius: float,
    tips: float = 5, depth: float = 0.382, turn: float = 0,
) -> None:  # fmt: skip
    """A star whose notches lie ``depth`` radii from its centre; with many tips it is a sun."""
    corners = int(2 * tips)
    reach = [radius * (depth if corner % 2 else 1) for corner in range(corners)]
    outline = [canvas.away(x, y, reach[corner], 360 * corner / corners - 90 + turn) for corner in range(corners)]
    polygon(canvas, colour, *(fraction for point in outline for fraction in point))


def stars(canvas: Canvas, colour: Colour, radius: float, *xy: float) -> None:
    """Five-pointed stars at the points ``x y x y …``."""
    for x, y in zip(xy[::2], xy[1::2], strict=True):
        star(canvas, colour, x, y, radius)


def grid(
    canvas: Canvas, colour: Colour, radius: float, columns: float, rows: float,
    x: float, y: float, dx: float, dy: float,
) -> None:  # fmt: skip
    """Columns and rows of stars, ``dx`` and ``dy`` apart, the first at ``(x, y)``."""
    for row in range(int(rows)):
        for column in range(int(columns)):
            star(canvas, colour, x + column * dx, y + row * dy, radius)


def circle(canvas: Canvas, colour: Colour, radius: float, number: float, x: float, y: float, distance: float) -> None:
    """Stars at a distance around ``(x, y)``, the first on top."""
    for index in range(int(number)):
        star(canvas, colour, *canvas.away(x, y, distance, 360 * index / number - 90), radius)


SHAPES: dict[str, Callable[..., None]] = {
    shape.__name__: shape
    for shape in (
        field, horizontal, vertical, rect, polygon, triangle, line, cross, saltire,
        disc, oval, ring, crescent, star, stars, grid, circle,
    )
}  # fmt: skip
