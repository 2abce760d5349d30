from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmkgc.components.encoders.images import Unusable, decode


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def colour(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return image.getpixel((x, y))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no image at all", "not an image"),
        (encoded(Image.effect_noise((64, 64), 90))[:900], "damaged"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "damaged"),
        (encoded(Image.new("L", (60, 60))), "over the limit of 3000"),
        (encoded(Image.new("L", (1, 2900))), "a line rather than a picture"),
    ],
)
def test_refuses_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        decode(data, max_pixels=3000 if "limit" in reason else 10_000)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = encoded(Image.new("1", (12_000, 12_000)))
    assert len(bomb) < 50_000
    with pytest.raises(Unusable, match="over the limit"):
        decode(bomb)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = decode(encoded(Image.new(mode, (5, 4)), "TIFF"))
    assert (image.mode, image.size) == ("RGB", (5, 4))


def test_cmyk_keeps_its_colour() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK")
    assert colour(decode(encoded(red, "TIFF"))) == (255, 0, 0)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = np.asarray(decode(encoded(Image.fromarray(ramp))))[..., 0]
    assert np.abs(pixels.astype(int).ravel() - np.arange(256)).max() <= 1


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (4, 4), name) for name in ("lime", "red")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert colour(decode(data)) == (0, 255, 0)


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (6, 3), "white")
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    upright = decode(encoded(image, "PNG", exif=exif))
    assert upright.size == (3, 6)
    assert colour(upright, 2, 0) == (255, 0, 0)


def test_transparency_is_white() -> None:
    assert colour(decode(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0))))) == (255, 255, 255)
