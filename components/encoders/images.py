"""Bytes of an image file → an upright RGB picture, or a reason why not."""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
MAX_ASPECT = 200
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class Unusable(ValueError):
    """An item that no vector can be made of; the message says why."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The first frame of an image file, upright (EXIF), in RGB; transparency becomes white.

    Raises Unusable for what is empty, no image, cut short, a line, or larger than ``max_pixels`` (a bomb).
    """
    if not data:
        raise Unusable("the file is empty")
    try:
        # PIL only warns of bombs; the limit below refuses them.
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data)) as image:
            _check_size(*image.size, max_pixels)
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise Unusable("the file is not an image") from error
    except Image.DecompressionBombError as error:
        raise Unusable(f"the picture is over the limit of {max_pixels} pixels") from error
    except Unusable:
        raise
    except Exception as error:  # PIL's decoders raise almost anything on damaged files
        raise Unusable(f"the image is damaged ({error or type(error).__name__})") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Unusable(f"{width} × {height} pixels are over the limit of {max_pixels}")
    if max(width, height) > MAX_ASPECT * min(width, height):  # resizing the shorter side would explode the longer one
        raise Unusable(f"{width} × {height} pixels are a line rather than a picture")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen-bit or float greys scaled to 0…255; PIL's own conversion would clip them to white."""
    values = np.asarray(image, dtype=np.float64)
    scale = 65535 if values.max() > 255 else (255 if values.max() > 1 or image.mode != "F" else 1)
    return Image.fromarray((values / scale * 255).clip(0, 255).astype(np.uint8))
