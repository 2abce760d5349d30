"""Reads flags from a compact text description and draws them.

A description begins with a key and the ratio height:width; followed by layers, painted in this order and separated by
``;``. An indented line continues the flag above it; a line that begins with ``#`` is a comment::

    norway 8:11
        field #ba0c2f; cross white 1/4 4/11; cross #00205b 1/8 4/11

A layer is a shape of shapes.py, or ``inset``, and its parameters in the order of the function's signature; those with a
default are optional. Numbers are decimals or fractions, colours names of ``PALETTE`` or ``#rrggbb``; ``red*2`` is a
stripe twice as wide as ``red``.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from PIL.Image import Image

from mmkgc.components.dataset.countries.shapes import SHAPES, Canvas, Colour, Stripe
from mmkgc.components.runtime.errors import UserError, did_you_mean

WIDTH = 240  # pixels of a drawn flag
SMOOTHING = 4  # flags are drawn this many times larger and averaged down, for smooth edges
PALETTE = {"white": "#ffffff", "black": "#000000", "grey": "#a7a8aa", "red": "#ce1126", "gold": "#fcd116"}

Layer = Callable[[Canvas], None]
Description = tuple[Fraction, list[tuple[str, str]]]  # ratio; location and text of each layer


@dataclass(frozen=True)
class Flag:
    """A parsed description; the ratio is height over width."""

    ratio: Fraction
    layers: tuple[Layer, ...]

    def paint(self, width: int, height: int) -> Image:
        """The flag in pixels."""
        canvas = Canvas(width, height)
        for layer in self.layers:
            layer(canvas)
        return canvas.image


def write(flag: Flag, path: Path) -> None:
    """Write the flag as a PNG of ``WIDTH`` pixels."""
    flag.paint(WIDTH * SMOOTHING, round(WIDTH * flag.ratio) * SMOOTHING).reduce(SMOOTHING).save(path, "PNG")


def read(path: Path) -> dict[str, Flag]:
    """The flags of a file by key. Raises UserError, with file and line, for flags that cannot be drawn."""
    flags: dict[str, Flag] = {}
    shapes = SHAPES | {"inset": partial(inset, flags)}
    for key, (ratio, parts) in _descriptions(path).items():
        flags[key] = Flag(ratio, tuple(_layer(text, shapes, where) for where, text in parts))
    return flags


def inset(flags: Mapping[str, Flag], canvas: Canvas, key: str, x: float, y: float, width: float, height: float) -> None:
    """A flag that is defined earlier in the file, in a rectangle."""
    if key not in flags:
        raise ValueError(f"no flag '{key}' is described above it")
    (left, top), (right, bottom) = canvas.points(x, y, x + width, y + height)
    canvas.image.paste(flags[key].paint(round(right - left), round(bottom - top)), (round(left), round(top)))


def _descriptions(path: Path) -> dict[str, Description]:
    """Ratio and layers of each flag, every layer with its file and line."""
    found: dict[str, Description] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}, line {number}"
        if not text.strip() or text.startswith("#"):
            continue
        if not text[0].isspace():
            key, ratio, text = _header(text, where)
            if key in found:
                raise UserError(where, f"the flag '{key}' is described a second time", "remove one of the two")
            found[key] = ratio, []
        elif not found:
            raise UserError(where, "an indented line continues the flag above it", "begin with a key and ratio")
        _, layers = found[key]
        layers += [(where, layer) for layer in text.split(";") if layer.strip()]
    return found


def _header(text: str, where: str) -> tuple[str, Fraction, str]:
    """Key, ratio and the layers on the same line."""
    header = re.fullmatch(r"(\S+) +([1-9]\d*):([1-9]\d*)(?:\s+(.*))?", text.rstrip())
    if not header:
        raise UserError(where, f"'{text[:40]}' does not begin a flag", "write its key and ratio, such as norway 8:11")
    key, height, width, layers = header.groups()
    return key, Fraction(int(height), int(width)), layers or ""


def _layer(text: str, shapes: Mapping[str, Callable[..., None]], where: str) -> Layer:
    """Parse one layer and draw it once, so that errors are reported with file and line."""
    name, *words = text.split()
    if name not in shapes:
        raise UserError(where, f"unknown shape '{name}'", did_you_mean(name, shapes))
    signature = inspect.signature(shapes[name])
    parameters = list(signature.parameters.values())[1:]  # the first is the canvas
    try:
        signature.bind(None, *words)
        kinds = chain((parameter.annotation for parameter in parameters), repeat(parameters[-1].annotation))
        values = [READERS[kind](word) for kind, word in zip(kinds, words, strict=False)]

        def layer(canvas: Canvas) -> None:
            shapes[name](canvas, *values)

        layer(Canvas(WIDTH, WIDTH))
    except (TypeError, ValueError, ArithmeticError) as error:
        usage = " ".join([name, *(_usage(parameter) for parameter in parameters)])
        raise UserError(where, f"'{text.strip()}' cannot be drawn: {error}", f"write it as: {usage}") from error
    return layer


def _usage(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"{parameter.name} …"
    return parameter.name if parameter.default is parameter.empty else f"[{parameter.name}]"


def _colour(word: str) -> Colour:
    if re.fullmatch("#[0-9a-f]{6}", word):
        return Colour(word)
    if word not in PALETTE:
        raise ValueError(f"unknown colour '{word}', {did_you_mean(word, PALETTE)}")
    return Colour(PALETTE[word])


def _stripe(word: str) -> Stripe:
    colour, _, weight = word.partition("*")
    return Stripe(_colour(colour), _number(weight or "1"))


def _number(word: str) -> float:
    return float(Fraction(word))


READERS: dict[Any, Callable[[str], Any]] = {Colour: _colour, Stripe: _stripe, float: _number, str: str}
