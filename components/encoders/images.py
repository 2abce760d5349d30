"""Bytes of an image file → an upright RGB picture, or a reason why not: the one decoder of all steps and of queries."""

import warnings
from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
MAX_ASPECT = 200
MAX_BYTES = 8 * MAX_PIXELS  # the largest picture, uncompressed, with four channels of sixteen bits
SHORT_SIDE = 1024  # several times what encoders see
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "JPEG2000", "PPM", "TGA", "ICO")
KINDS = "PNG, JPEG, WebP, GIF, AVIF, TIFF or BMP"
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
STRIP = 32
ORIENTATION = 0x0112  # the EXIF tag

# PIL warns of odd metadata, which do not matter here, and of bombs, which it refuses only at twice that size; what it
# warns of is beyond our own limit. Filters for a single call would not be safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Unusable(ValueError):
    """An item that no vector can be made of; the message says why."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS, short_side: int = SHORT_SIDE) -> Image.Image:
    """The first frame of an image file, upright (EXIF), in RGB, eight bits; transparency becomes white.

    Large pictures are reduced while they are decoded, by the largest whole factor that keeps the shorter side at
    ``short_side`` pixels or more; smaller ones keep every pixel. Of the full size no more exists than the file's own
    channels. Raises Unusable for what is empty, no image, cut short, a line, or larger than ``max_pixels`` (a bomb).
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
        raise Unusable(f"the image is damaged ({error or type(error).__name__})") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Unusable(f"{width} × {height} pixels are over the limit of {max_pixels}")
    if max(width, height) > MAX_ASPECT * min(width, height):  # resizing the shorter side would explode the longer one
        raise Unusable(f"{width} × {height} pixels are a line rather than a picture")


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """The image in RGB at ``1 / factor`` of its size, converted strip by strip so that it exists only once in full."""
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
    """The value that means white in an image of deep greys, judged by its largest one."""
    highest = max(float(value) for value in np.ravel(image.getextrema()))
    if not np.isfinite(highest):
        raise Unusable("the image has values that are no numbers")
    return 65535 if highest > 255 else (255 if highest > 1 or image.mode != "F" else 1)


def _eight_bits(image: Image.Image, white: float) -> Image.Image:
    """Sixteen-bit or float greys scaled to 0…255; PIL's own conversion would clip them to white."""
    values = np.asarray(image, dtype=np.float64)
    return Image.fromarray((values / white * 255).clip(0, 255).astype(np.uint8)).convert("RGB")


def _upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    """The picture turned as the EXIF data of its source say; damaged ones say nothing."""
    with suppress(Exception):  # whatever the damaged bytes lead to
        picture.getexif()[ORIENTATION] = source.getexif().get(ORIENTATION, 1)
    ImageOps.exif_transpose(picture, in_place=True)
    return picture
