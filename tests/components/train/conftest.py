"""A store, and the toy graph in it."""

from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage, Stored


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "store"))


@pytest.fixture
def graph(toy_mmkg: MMKG, storage: Storage, tmp_path: Path) -> Stored:
    toy_mmkg.save(tmp_path / "graph")
    return storage.publish(tmp_path / "graph", "graphs")
