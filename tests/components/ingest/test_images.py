import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities.files import BadFile
from mmkgc.components.dataset.modalities.visual import Visual
from mmkgc.components.runtime.digests import of_bytes
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.storage import Storage

Write = Callable[..., Path]
Build = Callable[..., MMKG]


def picture(colour: str, size: int = 80) -> bytes:
    Image.new("RGB", (size, size), colour).save(stream := BytesIO(), "PNG")
    return stream.getvalue()


def photo() -> bytes:
    Image.radial_gradient("L").save(stream := BytesIO(), "JPEG")
    return stream.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size."""
    small = picture("red")
    header = b"IHDR" + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def entities(**cells: str) -> dict[str, str]:
    rows = [f"{key}\t{key}\t{cells.get(key, '')}" for key in ("no", "se", "fi", "osl")]
    return {"entities.tsv": "key\tname\timage\n" + "\n".join(rows)}


def test_images_are_stored_and_named_by_digest(write_tsv: Write, built: Build, storage: Storage) -> None:
    red, blue, jpeg = picture("red"), picture("blue"), photo()
    files = {"flags/red.png": red, "flags/blue.png": blue, "photo.jpg": jpeg, "flags/same-red.png": red}
    cells = entities(no="flags/red.png | photo.jpg", se="flags/blue.png", fi="flags/red.png|flags/same-red.png")
    mmkg = built(write_tsv(cells | files))
    assert mmkg.content("visual") == ((of_bytes(red), of_bytes(jpeg)), (of_bytes(blue),), (of_bytes(red),), ())
    assert storage.blob(of_bytes(blue)) == blue
    assert mmkg.info["warnings"] == []
    assert mmkg.info["counts"]["with_image"] == 3


def test_unusable_images_are_listed_and_left_out(write_tsv: Write, built: Build) -> None:
    good, jpeg = picture("red"), photo()
    files = {
        "good.png": good,
        "text.png": b"not an image",
        "cut.png": good[: len(good) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "huge.png": claiming(8001, 8000),
    }
    cells = entities(no="good.png|gone.png", se="text.png|cut.png", fi="cut.jpg|huge.png", osl="flags|good.png")
    mmkg = built(write_tsv(cells | files | {"flags/empty": b""}))
    assert mmkg.content("visual") == ((of_bytes(good),), (), (), (of_bytes(good),))
    assert mmkg.info["unusable_files"] == [
        "no: gone.png does not exist",
        "se: text.png cannot be used: the file is not an image of a known kind "
        "(PNG, JPEG, WebP, GIF, AVIF, TIFF or BMP)",
        "se: cut.png cannot be used: the image is damaged (image file is truncated)",
        "fi: cut.jpg cannot be used: the image is damaged (image file is truncated (0 bytes not processed))",
        "fi: huge.png cannot be used: 8001 × 8000 pixels are over the limit of 50000000",
        "osl: flags is not a regular file",
    ]
    (warning,) = mmkg.info["warnings"]
    assert "unusable images" in warning
    assert "6 (no: gone.png does not exist, se: text.png" in warning


@pytest.mark.parametrize("size", [(100_000, 100_000), (8000, 10_000), (20_000, 1)])
def test_a_decompression_bomb_is_not_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(claiming(*size))
    with pytest.raises(BadFile):
        Visual().checked(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", "is a data URI, not a path: save the image as a file"),
        ("https://example.org/red.png", "is an address, and nothing is fetched"),
        ("iVBORw0KGgo" * 30, "is too long for a file name: the cell holds the path of the image"),
        ("x" * 252 + ".png", "is too long for a file name"),
        ("img/a\0.png", "has a NUL character"),
        ("flags\x1b[2J.png", "does not exist"),
    ],
)
def test_what_is_no_path_is_told_as_what_it_is(write_tsv: Write, built: Build, cell: str, reason: str) -> None:
    mmkg = built(write_tsv(entities(no=cell)))
    (told,) = mmkg.info["unusable_files"]
    assert reason in told
    assert len(told) < 300
    assert "\x1b" not in told
    assert mmkg.content("visual")[0] == ()


@pytest.mark.parametrize("how", ["up", "absolute", "link", "linked folder"])
def test_an_image_outside_the_folder_is_refused_unless_allowed(
    write_tsv: Write, built: Build, tmp_path: Path, how: str
) -> None:
    (tmp_path / "secret").mkdir()
    outside = tmp_path / "secret" / "red.png"
    outside.write_bytes(picture("red"))
    paths = {"up": "../secret/red.png", "absolute": str(outside), "link": "red.png", "linked folder": "img/red.png"}
    folder = write_tsv(entities(se=paths[how]))
    (folder / "red.png").symlink_to(outside)
    (folder / "img").symlink_to(outside.parent)
    with pytest.raises(UserError, match=r"entities\.tsv, line 3: the image .* leads out .*allow_outside_files=true"):
        built(folder)
    assert not (tmp_path / "store").exists(), "nothing is written"
    assert built(folder, allow_outside_files=True).content("visual")[1] == (of_bytes(picture("red")),)


def test_links_within_the_folder_are_followed(write_tsv: Write, built: Build) -> None:
    folder = write_tsv(entities(no="link.png") | {"flags/red.png": picture("red")})
    (folder / "link.png").symlink_to("flags/red.png")
    assert built(folder).content("visual")[0] == (of_bytes(picture("red")),)


@pytest.mark.timeout(20)
def test_pipes_devices_and_giants_are_not_opened(write_tsv: Write, built: Build) -> None:
    folder = write_tsv(entities(no="pipe", se="zero", fi="giant"))
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    with (folder / "giant").open("wb") as giant:
        giant.truncate(10**12)
    mmkg = built(folder, allow_outside_files=True)
    assert mmkg.info["unusable_files"] == [
        "no: pipe is not a regular file",
        "se: zero is not a regular file",
        "fi: giant has more than 400,000,000 bytes",
    ]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP"])
def test_every_kind_of_picture_is_taken(write_tsv: Write, built: Build, kind: str) -> None:
    Image.new("RGB", (30, 20), "red").save(data := BytesIO(), kind)
    assert built(write_tsv(entities(no="a") | {"a": data.getvalue()})).content("visual")[0] == (
        of_bytes(data.getvalue()),
    )
