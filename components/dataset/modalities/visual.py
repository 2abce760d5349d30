"""Images."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Base64Bytes, Field

from mmkgc.components.dataset.modalities.files import BadFile, FileModality

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000  # a small file can claim to be a huge picture (decompression bomb)
MAX_IMAGE_BYTES = 4_000_000
ASKED_PIXELS = 25_000_000
ASKED_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # PIL's other decoders are not for files of strangers


class Visual(FileModality):
    """Images, none or several an entity; the mean of their vectors."""

    noun = "image"
    lacking = "no image"
    column = "image"
    stored = "images"
    encoder = "vgg16"
    field = "image"
    annotation = Annotated[Base64Bytes, Field(max_length=MAX_IMAGE_BYTES)]
    refusal = "bad_image"
    widget = "picture"
    option = "--image"
    metavar = "FILE"
    help = "Pictures the entity that is written @."

    def check(self, path: Path) -> bytes:
        """The file's bytes, once they decode as an image."""
        from PIL import Image

        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadFile("does not exist" if not path.exists() else "cannot be read") from error
        try:
            with Image.open(BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise BadFile(f"has more than {MAX_PIXELS:,} pixels")
                image.draft("RGB", (64, 64))  # a JPEG is decoded at an eighth of its size: as strict, and much faster
                image.load()
        except BadFile:
            raise
        except Exception as error:  # decoders raise nearly anything on broken bytes
            raise BadFile("does not decode") from error
        return data

    def decode(self, data: bytes, config: Any) -> "Image":
        """An upright RGB image, no larger than the encoder's configuration allows."""
        from mmkgc.components.encoders.images import decode

        return decode(data, config.max_pixels)

    def from_query(self, value: bytes) -> "Image":
        """The image, decoded as at extraction; one of four formats, at most 25 megapixels."""
        from PIL import Image

        from mmkgc.components.encoders.images import Unusable, decode

        try:
            with Image.open(BytesIO(value), formats=ASKED_FORMATS):
                pass
        except Exception as error:  # decoders raise nearly anything on broken bytes
            raise Unusable("the image does not decode; send PNG, JPEG, WebP or GIF") from error
        return decode(value, ASKED_PIXELS)
