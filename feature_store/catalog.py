"""Contents of the feature store: committed manifests, their verification, and garbage collection."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store.manifest import Manifest, digest_of, manifest_path
from mmkgc.feature_store.parts import USABLE, check_digest, is_whole, read_table, sequences_of, usable, vectors_of
from mmkgc.feature_store.storage import Storage, StoredFile

ROOT = "features/"
GRACE_HOURS = 24.0


def committed(storage: Storage) -> list[str]:
    """URIs of all committed manifests."""
    pointers = [file.path for file in storage.files(ROOT) if _name(file.path).startswith("commit-")]
    paths = [manifest_path(pointer, storage) for pointer in pointers]
    return sorted(storage.uri(path) for path in paths if path)


def find(reference: str, storage: Storage) -> str:
    """The manifest with a given URI or digest prefix. Raises UserError if none or several match."""
    if not reference.strip():
        raise UserError("manifest", "the name is empty", "`mmkgc features list` shows the digests")
    uris = committed(storage)
    found = [uri for uri in uris if reference in (uri, digest_of(uri)) or digest_of(uri).startswith(reference)]
    if len(found) == 1:
        return found[0]
    what = "is no committed manifest" if not found else f"means {len(found)} manifests"
    raise UserError(reference, what, "`mmkgc features list` shows their digests")


def verify(uri: str, storage: Storage) -> list[str]:
    """Faults of a manifest's files and vectors, one sentence each; empty if there are none."""
    try:
        manifest = Manifest.read(uri, storage)
        check_digest(manifest.entities, manifest.spec, storage)
        entities = read_table(manifest.entities, manifest.spec, storage)
    except UserError as error:
        return [str(error)]
    faults, found = [], set()
    for part in manifest.parts:
        try:
            check_digest(part, manifest.spec, storage)
            table = read_table(part, manifest.spec, storage, ["content", "vector", "status"])
        except UserError as error:
            faults.append(str(error))
            continue
        found.update(table["content"].to_pylist())
        faults += _bad_vectors(table, manifest, part.name)
    needed = [row for row in entities.to_pylist() if row["status"] in USABLE]
    faults += [f"entity '{row['key']}': its vector is in no part" for row in needed if row["content"] not in found]
    return faults


def repair(uri: str, storage: Storage) -> bool:
    """Whether a manifest and its files match their names; damaged files are deleted and recreated when needed.

    Files are checked by CRC-32, as readers do.
    """
    try:
        manifest = Manifest.read(uri, storage)
    except UserError:
        return False
    damaged = [file for file in (manifest.entities, *manifest.parts) if not is_whole(file, manifest.spec, storage)]
    return not damaged


def garbage(storage: Storage, uris: Sequence[str], grace_hours: float = GRACE_HOURS) -> list[StoredFile]:
    """Files in none of the manifests ``uris``, except those younger than ``grace_hours``.

    A running writer may still need the recent files.
    """
    kept = set()
    for uri in uris:
        manifest = Manifest.read(uri, storage)
        kept.add(storage.path(uri))
        kept.update(f"{manifest.spec.folder}/{file.name}" for file in (manifest.entities, *manifest.parts))
    before = time.time() - grace_hours * 3600
    old = [file for file in storage.files(ROOT) if file.modified < before]
    return [file for file in old if file.path not in kept and not _name(file.path).startswith("commit-")]


def forget(uri: str, storage: Storage) -> None:
    """Remove a manifest's commit: readers no longer find it, and its files become garbage."""
    for file in storage.files(ROOT):
        if _name(file.path).startswith("commit-") and manifest_path(file.path, storage) == storage.path(uri):
            storage.delete(file.path)


def idle_slabs(uris: Sequence[str]) -> list[Path]:
    """Slabs on this machine whose manifest is not among ``uris``."""
    folder = Settings.from_env().scratch / "slabs"
    digests = {digest_of(uri) for uri in uris}
    return [slab for slab in sorted(folder.glob("*")) if slab.name.split("-")[0] not in digests]


def remove(files: Sequence[StoredFile], slabs: Sequence[Path], storage: Storage) -> None:
    """Delete garbage."""
    for file in files:
        storage.delete(file.path)
    for slab in slabs:
        shutil.rmtree(slab, ignore_errors=True)


def _bad_vectors(table: pa.Table, manifest: Manifest, part: str) -> list[str]:
    rows = sequences_of(table) if manifest.spec.tokens else vectors_of(table)
    good = np.array([bool(np.isfinite(row).all() and row.any()) for row in rows], dtype=bool)
    count = int((usable(table) & ~good).sum())
    return [f"{part}: {counted(count, 'vector is', 'vectors are')} zero or not finite"] if count else []


def _name(path: str) -> str:
    return path.rpartition("/")[2]
