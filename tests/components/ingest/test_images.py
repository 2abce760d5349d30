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
        "se: text.png does not decode",
        "se: cut.png does not decode",
        "fi: cut.jpg does not decode",
        "fi: huge.png has more than 64,000,000 pixels",
        "osl: flags cannot be read",
    ]
    (warning,) = mmkg.info["warnings"]
    assert "unusable images" in warning
    assert "6 (no: gone.png does not exist, se: text.png" in warning


@pytest.mark.parametrize("size", [(100_000, 100_000), (8000, 10_000)])
def test_a_decompression_bomb_is_not_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(claiming(*size))
    with pytest.raises(BadFile):
        Visual().check(tmp_path / "bomb.png")
