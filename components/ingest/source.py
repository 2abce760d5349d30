"""Where a dataset comes from: a bundled name, a folder of the user's, or a folder in the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from components.ingest.readers import folder as tsv
from components.ingest.readers import openke
from components.runtime import digests
from components.runtime.errors import UserError, did_you_mean
from feature_store.storage import Storage

BUNDLED = ("countries",)


@contextmanager
def opened(dataset: str, storage: Storage) -> Iterator[Path]:
    """The dataset's folder while the context lasts. Raises UserError for a name that is nowhere."""
    if dataset in BUNDLED:
        from components.ingest.countries import build

        with TemporaryDirectory() as scratch:
            yield build(Path(scratch) / dataset)
    elif "://" in dataset:
        yield storage.fetch(dataset)
    elif Path(dataset).is_dir():
        yield Path(dataset)
    else:
        what = f"neither a bundled dataset nor a folder; {did_you_mean(dataset, BUNDLED)}"
        raise UserError(dataset, what, f"a dataset folder holds {tsv.NEEDS}, or {openke.NEEDS}")


def fingerprint(dataset: str) -> str:
    """What changes whenever the dataset does, for a cache key: the digest of a folder's content, otherwise the name.

    A bundled dataset changes only with the code, a stored one never.
    """
    return digests.of_folder(Path(dataset)) if dataset not in BUNDLED and Path(dataset).is_dir() else dataset
