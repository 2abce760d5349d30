from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.train.config import TrainConfig
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage


class Toy(NamedTuple):
    graph_uri: str
    feature_uris: Mapping[str, str]
    train: TrainConfig
    storage: Storage


@pytest.fixture
def toy(mmkgc_home: Path, toy_mmkg: MMKG, tmp_path: Path) -> Toy:
    """The toy graph in a store, and a quick structure-only training."""
    storage = open_storage()
    toy_mmkg.save(tmp_path / "graph")
    train = TrainConfig(
        model={"dimension": 8, "interaction": "distmult", "fusion": "structure"},
        loss="cross-entropy",
        optimizer={"lr": 0.02},
        batch_size=128,
        epochs=9,
        evaluate_every=1,
    )
    return Toy(storage.publish(tmp_path / "graph", "graphs").uri, {}, train, storage)
