"""Bytes of an image file → an upright RGB picture, or a reason why not."""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class Unusable(ValueError):
    """An item that no vector can be made of; the message says why."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The first frame of an image file, upright (EXIF), in RGB; transparency becomes white.

    Raises Unusable for what is empty, no image, cut short, or larger than ``max_pixels`` (a decompression bomb).
    """
    if not data:
        raise Unusable("the file is empty")
    try:
        with warnings.catch_warnings(), Image.open(BytesIO(data)) as image:
            warnings.simplefilter("ignore")  # PIL only warns of bombs: the limit below refuses them
            if image.width * image.height > max_pixels:
                raise Unusable(f"{image.width} × {image.height} pixels are over the limit of {max_pixels}")
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
