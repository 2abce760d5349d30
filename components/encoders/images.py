"""Decoding of image files to upright RGB images; all steps and queries use this decoder."""

import warnings
from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmkgc.components.runtime.errors import Unusable

MAX_PIXELS = 50_000_000
MAX_ASPECT = 200
MAX_BYTES = 8 * MAX_PIXELS  # the largest image, uncompressed, with four 16-bit channels
SHORT_SIDE = 1024  # several times what encoders see
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "JPEG2000", "PPM", "TGA", "ICO")
KINDS = "PNG, JPEG, WebP, GIF, AVIF, TIFF or BMP"
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
STRIP = 32
ORIENTATION = 0x0112  # the EXIF tag

# PIL warns about odd metadata, which are irrelevant here, and about decompression bombs, which it rejects only at twice
# the size of the warning; that size is beyond our own limit. Filters for single calls would not be thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode(data: bytes, max_pixels: int = MAX_PIXELS, short_side: int = SHORT_SIDE) -> Image.Image:
    """The first frame of an image file, upright (EXIF), in RGB, eight bits; transparency becomes white.

    Large images are reduced during decoding by the largest integer factor that keeps the shorter side at ``short_side``
    pixels or more; smaller ones keep their size. At full size, only the file's own channels are in memory. Raises
    Unusable for data that are empty, not an image, truncated, extremely narrow, or larger than ``max_pixels``.
    """
    max_pixels = min(max_pixels, MAX_PIXELS)
    if not data:
        raise Unusable("the file is empty")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, max_pixels)
            scale = short_side / min(image.size)
            image.draft(None, (round(image.width * scale), round(image.height * scale)))  # JPEG: at 1/2, 1/4 or 1/8
            image.load()
            return _upright(_reduced(image, max(1, min(image.size) // short_side)), image)
    except UnidentifiedImageError as error:
        raise Unusable(f"the file is not an image of a known kind ({KINDS})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unusable(f"the picture is over the limit of {max_pixels} pixels") from error
    except Unusable:
        raise
    except Exception as error:  # PIL's decoders raise almost anything on damaged files
        raise Unusable(f"the image is damaged ({str(error) or type(error).__name__})") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Unusable(f"{width} × {height} pixels are over the limit of {max_pixels}")
    if max(width, height) > MAX_ASPECT * min(width, height):  # resizing the shorter side would make the longer one huge
        raise Unusable(f"{width} × {height} pixels are a line rather than a picture")


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """The image in RGB at ``1 / factor`` of its size, converted in strips to avoid a second full-size copy."""
    scale = _white(image) if image.mode in DEEP_MODES else 0
    reduced = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, reduced.height, STRIP):
        strip = image.crop((0, top * factor, image.width, min((top + STRIP) * factor, image.height)))
        rgb = _eight_bits(strip, scale) if scale else _rgb(strip)
        reduced.paste(rgb.reduce(factor) if factor > 1 else rgb, (0, top))
    return reduced


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")
    return image.convert("RGB")


def _white(image: Image.Image) -> float:
    """The white level of a 16-bit or float greyscale image, inferred from its maximum."""
    highest = max(float(value) for value in np.ravel(image.getextrema()))
    if not np.isfinite(highest):
        raise Unusable("the image has values that are no numbers")
    return 65535 if highest > 255 else (255 if highest > 1 or image.mode != "F" else 1)


def _eight_bits(image: Image.Image, white: float) -> Image.Image:
    """Sixteen-bit or float greys scaled to 0…255; PIL's own conversion would clip them to white."""
    values = np.asarray(image, dtype=np.float64)
    return Image.fromarray((values / white * 255).clip(0, 255).astype(np.uint8)).convert("RGB")


def _upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """The image rotated by the EXIF orientation of its source; damaged EXIF data are ignored."""
    with suppress(Exception):  # damaged EXIF data may raise anything
        picture.getexif()[ORIENTATION] = source.getexif().get(ORIENTATION, 1)
    ImageOps.exif_transpose(picture, in_place=True)
    return picture
