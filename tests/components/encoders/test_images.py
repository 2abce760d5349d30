from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mmkgc.components.encoders.images import decode
from mmkgc.components.runtime.errors import Unusable


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_large_pictures_are_reduced_and_small_ones_are_not(kind: str) -> None:
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(ramp, (200, 1))] * 3, axis=-1))
    data = encoded(image, kind)
    assert decode(data).size == decode(data, short_side=101).size == (300, 200)
    small = decode(data, short_side=50)
    assert small.size == (75, 50)
    expected = np.asarray(image.reduce(4), dtype=int)
    assert np.abs(np.asarray(small, dtype=int) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_strips_are_put_together_where_they_belong(mode: str) -> None:
    """Taller than many strips, in every mode, upright and turned; half of it is dark, half is white."""
    image = Image.new("L", (40, 500), 0)
    image.paste(255, (0, 300, 40, 500))
    if mode in ("I;16", "F"):
        image = Image.fromarray((np.asarray(image).astype(np.float64) * 257).astype("u2" if mode == "I;16" else "f4"))
    elif mode == "P":
        image = image.quantize(2)
    else:
        image = image.convert(mode) if mode != "CMYK" else image.convert("RGB").convert("CMYK")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    found = np.asarray(decode(encoded(image, "TIFF", exif=exif), short_side=10))[..., 1]
    assert found.shape == (125, 10)
    assert (found[:50] == 255).all()
    assert (found[50:] == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_small_pictures_keep_every_pixel(mode: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (90, 70, 4), dtype=np.uint8)
    image = Image.fromarray(values) if mode == "RGBA" else Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    expected = values[..., :3] if mode == "RGBA" else np.stack([values[..., 0]] * 3, axis=-1)
    if mode == "RGBA":
        image.putalpha(255)
    np.testing.assert_array_equal(np.asarray(decode(encoded(image))), expected)


def test_a_recipe_may_lower_the_limit_only() -> None:
    with pytest.raises(Unusable, match="over the limit of 50000000"):
        decode(encoded(Image.new("1", (10_000, 6000))), max_pixels=10**9)


def test_an_animation_of_several_pictures_is_its_first() -> None:
    frames = [Image.new("RGB", (4, 4), name) for name in ("lime", "red")]
    assert colour(decode(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])))[1] > 200


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(Unusable, match="no numbers"):
        decode(encoded(Image.fromarray(np.full((5, 5), np.nan, np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0no such thing", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12", b"Exif\0\0"])
def test_damaged_metadata_do_not_matter(kind: str, exif: bytes) -> None:
    assert decode(encoded(Image.effect_noise((9, 6), 50).convert("RGB"), kind, exif=exif)).size == (9, 6)
