"""Images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Base64Bytes, Field

from mmkgc.components.dataset.modalities.files import FileModality

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_IMAGE_BYTES = 4_000_000
CHECKED_SIDE = 64  # pixels of the shorter side: a JPEG is decoded at 1/8 of its size, equally strictly and much faster


class Visual(FileModality):
    """Images, none or several per entity; their vectors are averaged."""

    noun = "image"
    lacking = "no image"
    column = "image"
    stored = "images"
    encoder = "efficientnetlite0"
    field = "image"
    annotation = Annotated[Base64Bytes, Field(max_length=MAX_IMAGE_BYTES)]
    refusal = "bad_image"
    widget = "picture"
    option = "--image"
    metavar = "FILE"
    help = "Pictures the entity that is written @."

    def check(self, data: bytes) -> None:
        """Decode the image as extraction does."""
        from mmkgc.components.encoders.images import decode

        decode(data, short_side=CHECKED_SIDE)

    def decode(self, data: bytes, options: Mapping[str, Any]) -> "Image":
        """An upright RGB image, no larger than the encoder's options allow."""
        from mmkgc.components.encoders.images import MAX_PIXELS, decode

        return decode(data, options.get("max_pixels", MAX_PIXELS))
