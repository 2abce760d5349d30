"""Fixtures around a small dataset folder of Nordic countries, for the tests of its files and of ingest."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.ingest import build
from mmkgc.feature_store.storage import Storage, open_storage

Files = Mapping[str, str | bytes | None]

TSV = {
    "entities.tsv": "key\tname\tdescription\n"
    "no\tNorway\ta kingdom\nse\tSweden\t\nfi\tFinland\ta republic\nosl\tOslo\t\n",
    "relations.tsv": "key\tname\nborders\tborders\ncapital\thas capital\n",
    "train.tsv": "head\trelation\ttail\nno\tborders\tse\nse\tborders\tfi\nno\tcapital\tosl\nfi\tborders\tno\n",
    "valid.tsv": "se\tborders\tno\n",
    "test.tsv": "fi\tborders\tse\n",
}
OPENKE = {
    "entity2id.txt": "4\nno 0\nse 1\nfi 2\nosl 3\n",
    "relation2id.txt": "2\nborders 0\ncapital 1\n",
    "train2id.txt": "4\n0 1 0\n1 2 0\n0 3 1\n2 0 0\n",
    "valid2id.txt": "1\n1 0 0\n",
    "test2id.txt": "1\n2 1 0\n",
}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "store"))


@pytest.fixture
def write_tsv(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small dataset folder; ``changes`` replace files, ``None`` leaves one out."""
    return lambda changes=None: _write(tmp_path / "nordic", TSV | dict(changes or {}))


@pytest.fixture
def write_openke(tmp_path: Path) -> Callable[..., Path]:
    """Writes the same graph as OpenKE files."""
    return lambda changes=None: _write(tmp_path / "nordic-ids", OPENKE | dict(changes or {}))


@pytest.fixture
def built(storage: Storage) -> Callable[..., MMKG]:
    """Builds the checked graph of a folder; keywords are ingest's configuration."""
    return lambda folder, **config: build(str(folder), IngestConfig(**config), storage)


def _write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
