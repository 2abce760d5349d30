import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.package.package import PackageConfig, package
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.files import read_json
from mmkgc.feature_store.storage import Storage, Stored, open_storage
from mmkgc.serving.engine.build_thumbnails import write_thumbnails
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.torchserve.archive import read_manifest


def picture(colour: str, size: tuple[int, int], mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "store"))


@pytest.fixture
def mmkg(toy_mmkg: MMKG, storage: Storage) -> MMKG:
    """The first two entities have pictures, one of them two; the second is transparent."""
    first = (storage.put_blob(picture("red", (400, 200))), storage.put_blob(picture("blue", (10, 10))))
    second = (storage.put_blob(picture("green", (20, 30), "RGBA")),)
    return replace(toy_mmkg, contents=toy_mmkg.contents | {"visual": (first, second, *toy_mmkg.content("visual")[2:])})


@pytest.fixture
def published(mmkg: MMKG, storage: Storage, tmp_path: Path) -> tuple[Stored, Stored]:
    torch.manual_seed(0)
    graph = mmkg.graph
    model = Model(ModelConfig(dimension=4), len(graph.relations), {}, torch.ones(60, dtype=torch.bool))
    Bundle.of(model, graph).save(tmp_path / "bundle")
    mmkg.save(tmp_path / "graph")
    return storage.publish(tmp_path / "bundle", "bundles"), storage.publish(tmp_path / "graph", "graphs")


def test_the_archive_is_the_bundle_with_thumbnails(published, storage, tmp_path):
    bundle, graph = published
    stored = package(bundle.uri, graph.uri, PackageConfig(name="toy", thumbnail_pixels=64), storage)
    folder = storage.fetch(stored.uri)
    about = read_json(folder / "archive.json")
    archive = folder / about["archive"]
    assert about["sha256"] == digests.of_file(archive)
    assert about["bundle"] == bundle.digest
    manifest = read_manifest(archive)
    assert (manifest["modelName"], manifest["modelVersion"]) == ("toy", bundle.digest[:12])

    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path / "unpacked")
    unpacked = tmp_path / "unpacked" / "bundle"
    pictures = load_file(unpacked / "thumbnails.safetensors")
    sizes = {key: Image.open(BytesIO(data.tobytes())).size for key, data in pictures.items()}
    assert sizes == {"e0": (64, 32), "e1": (20, 30)}
    engine = Engine.load(unpacked)
    assert engine.catalog.thumbnail("e0")["image"]
    assert engine.catalog.thumbnail("e9")["image"] is None
    assert engine.catalog.search("entity 0", 1)["entities"][0]["picture"]
    assert engine.answer([{"head": "e0", "relation": "r0"}])[0]["predictions"]


def test_the_same_bundle_gives_the_same_archive(published, storage):
    bundle, graph = published
    config = PackageConfig(name="toy")
    assert package(bundle.uri, graph.uri, config, storage) == package(bundle.uri, graph.uri, config, storage)


def test_thumbnails_can_be_left_out(published, storage):
    bundle, graph = published
    folder = storage.fetch(package(bundle.uri, graph.uri, PackageConfig(thumbnail_pixels=0), storage).uri)
    with zipfile.ZipFile(folder / "mmkgc.mar") as content:
        assert not [name for name in content.namelist() if "thumbnail" in name]


def test_thumbnails_are_upright_and_show_deep_greys(toy_mmkg, storage, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(lying := BytesIO(), "JPEG", exif=exif)
    Image.fromarray(np.full((20, 20), 257 * 40, np.uint16)).save(dark := BytesIO(), "PNG")
    images = [(storage.put_blob(data.getvalue()),) for data in (lying, dark)]
    damaged = storage.put_blob(b"not an image")
    pictured = (*images, (damaged,), (damaged, *images[0]), *toy_mmkg.content("visual")[4:])
    mmkg = replace(toy_mmkg, contents=toy_mmkg.contents | {"visual": pictured})
    write_thumbnails(tmp_path / "t.safetensors", mmkg, storage, 16)
    pictures = {key: Image.open(BytesIO(data.tobytes())) for key, data in load_file(tmp_path / "t.safetensors").items()}
    assert {key: picture.size for key, picture in pictures.items()} == {"e0": (8, 16), "e1": (16, 16), "e3": (8, 16)}
    assert abs(pictures["e1"].convert("L").getpixel((8, 8)) - 40) <= 2
