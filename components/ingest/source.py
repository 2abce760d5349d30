"""Location of a dataset: a bundled name, a path, a folder in ``$MMKGC_DATA``, or a URI of the store."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkgc.components.dataset import readers
from mmkgc.components.dataset.modalities.files import unreadable
from mmkgc.components.dataset.readers import folder as tsv
from mmkgc.components.dataset.readers import openke
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store.storage import Storage

BUNDLED = ("countries",)
DIGEST = re.compile(r"/[0-9a-f]{64}/?$")  # at the end of what is stored


@contextmanager
def opened(dataset: str, storage: Storage) -> Iterator[Path]:
    """Context that yields the dataset's folder. Raises UserError for an unknown name."""
    if dataset in BUNDLED:
        from mmkgc.components.dataset.countries import build

        with TemporaryDirectory() as scratch:
            yield build(Path(scratch) / dataset)
    elif "://" in dataset:
        if not DIGEST.search(dataset):
            mend = "give its folder by path; `mmkgc submit` stores what a cluster is to read, and says its URI"
            raise UserError(f"dataset {dataset}", "mmkgc has stored no dataset under this address", mend)
        yield storage.fetch(dataset)
    else:
        yield folder_of(dataset)


def fingerprint(dataset: str) -> str:
    """Fingerprint of the dataset for a cache key: of a folder, the digest of exactly the files that ingest reads,
    including those outside the folder; otherwise the name.

    A bundled dataset changes only with the code, a stored one never. Raises UserError for an unknown name and for a
    malformed list of images.
    """
    if dataset in BUNDLED or "://" in dataset:
        return dataset
    folder = folder_of(dataset)
    files, images = readers.inputs(folder)
    read = [name for name in files if os.path.isfile(folder / name)]
    read += [path for path in images if not unreadable(folder / path)]
    return digests.of_json([[name, _digest(folder / name)] for name in read])


def _digest(path: Path) -> str:
    """Digest of a file; empty if it is not readable, which ingest reports."""
    try:
        return digests.of_file(path)
    except PermissionError:
        return ""


def folder_of(dataset: str) -> Path:
    """The folder with this path, or with this name in ``$MMKGC_DATA``. Raises UserError if there is none."""
    if not dataset.strip():
        raise UserError("dataset", "the name is empty", "say which dataset; `.` is the working folder")
    data = Settings.from_env().data
    for folder in (Path(dataset), data / dataset):
        if os.path.isdir(folder):
            return folder
    there = [folder.name for folder in data.iterdir() if folder.is_dir()] if data.is_dir() else []
    what = f"no such folder here or in {data} ($MMKGC_DATA), nor bundled; {did_you_mean(dataset, [*BUNDLED, *there])}"
    mend = f"put its folder there, or say where it is, dataset=PATH; it holds {tsv.NEEDS}, or {openke.NEEDS}"
    raise UserError(f"dataset {dataset}", what, mend)
