"""Model → the archive that TorchServe loads."""

from collections.abc import Container
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.files import write_json
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.serving.engine.build_index import build_index
from mmkgc.serving.engine.build_thumbnails import write_thumbnails
from mmkgc.serving.engine.descriptions import FILE as DESCRIPTIONS
from mmkgc.serving.engine.descriptions import write_descriptions
from mmkgc.serving.engine.index import FILE as INDEX
from mmkgc.serving.engine.tables import FILE as TABLES
from mmkgc.serving.engine.tables import write_tables
from mmkgc.serving.engine.thumbnails import FILE as THUMBNAILS
from mmkgc.serving.torchserve.archive import HANDLER, write_archive

VERSION_DIGITS = 12


def package(bundle_uri: str, graph_uri: str, config: PackageConfig, storage: Storage) -> Stored:
    """Pack a bundle, with thumbnails of the graph's images, into ``<name>.mar`` plus ``archive.json``.

    The archive's version is the start of the bundle's digest, so that every answer identifies the model.
    """
    bundle = storage.fetch(bundle_uri)
    digest = digests.of_folder(bundle)
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "archive"
        out.mkdir()
        archive = out / f"{config.name}.mar"
        version = digest[:VERSION_DIGITS]
        build(archive, bundle, version, config, MMKG.load(storage.fetch(graph_uri)), storage)
        about = {
            "name": config.name,
            "version": version,
            "archive": archive.name,
            "sha256": digests.of_file(archive),
            "bytes": archive.stat().st_size,
            "handler": HANDLER,
            "bundle": digest,
        }
        write_json(out / "archive.json", about)
        return storage.publish(out, "archives")


def build(
    archive: Path, bundle: Path, version: str, config: PackageConfig, mmkg: MMKG | None, storage: Storage
) -> None:
    """Write the archive file of a bundle folder; without a graph it has no thumbnails."""
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    settings = {
        "batchSize": config.batch_size,
        "maxBatchDelay": config.batch_delay_ms,
        "responseTimeout": config.response_timeout_s,
    }
    with TemporaryDirectory() as scratch:
        extras = Path(scratch)
        write_extras(extras, Bundle.load(bundle), config, files)
        if mmkg is not None and config.thumbnail_pixels:
            write_thumbnails(extras / THUMBNAILS, mmkg, storage, config.thumbnail_pixels)
        if mmkg is not None:
            write_descriptions(extras / DESCRIPTIONS, mmkg.content("textual"))
        files |= {path.name: path for path in extras.iterdir()}
        write_archive(archive, files, config.name, version, settings)


def write_extras(folder: Path, bundle: Bundle, config: PackageConfig, present: Container[str] = ()) -> None:
    """Write data shared by all workers: the encoded entities and, for a large graph, their index.

    Files that are ``present`` stay as they are: `mmkgc extend` has added rows to those of an earlier package.
    """
    if TABLES not in present:
        write_tables(folder / TABLES, bundle)
    if len(bundle.entities) >= config.index_from and INDEX not in present:
        index = build_index(bundle, config.index_recall, config.index_queries)
        if index is not None:
            index.save(folder)
