"""A study of missing modalities: training, search and the evaluation's slices leave out the same features."""

import multiprocessing
from typing import Any

import pytest
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate.slices import entity_masks
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.search.worker import work
from mmkgc.components.train import features as training
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.features import training_features
from mmkgc.feature_store.storage import open_storage

STUDY = TrainConfig(model={"dimension": 4}, drop_modality={"textual": 0.8}, seed=3)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of the feature store."""
    calls: list[tuple[Any, ...]] = []

    def load(uri: str, keys: Any, storage: Any, drop: float = 0.0, seed: int = 0) -> Features:
        calls.append((uri, drop, seed))
        return Features(torch.zeros(len(keys), 3), torch.ones(len(keys), dtype=torch.bool))

    monkeypatch.setattr(training, "load_features", load)
    return calls


def test_training_leaves_out_what_the_study_drops(asked: list[tuple[Any, ...]], tmp_path: Any) -> None:
    training_features({"textual": "t", "visual": "v"}, ["a"], STUDY, open_storage(str(tmp_path)))
    assert asked == [("t", 0.8, 3), ("v", 0.0, 3)]


def test_search_tunes_on_what_training_gets(asked: list[tuple[Any, ...]], toy_mmkg: MMKG, tmp_path: Any) -> None:
    ours, theirs = multiprocessing.Pipe()
    theirs.close()  # the scheduler has gone
    storage = open_storage(str(tmp_path / "store"))
    toy_mmkg.save(tmp_path / "graph")
    graph = storage.publish(tmp_path / "graph", "graphs").uri
    work(ours, graph, {"textual": "t"}, STUDY.model_dump_json(), str(tmp_path / "store"), tmp_path, 1)
    assert asked == [("t", 0.8, 3)]


def test_slices_count_the_texts_that_the_model_has(toy_mmkg: MMKG, toy_features: dict[str, Features]) -> None:
    whole = toy_features["textual"]
    mask = whole.mask & (torch.arange(len(whole.mask)) % 4 == 1)
    fewer = {"textual": Features(whole.vectors * mask.unsqueeze(1), mask)}
    for missing in ("learned", "random"):
        config = ModelConfig(dimension=4, missing=missing)
        model = Model(config, len(toy_mmkg.graph.relations), fewer, torch.ones_like(mask))
        assert torch.equal(entity_masks(toy_mmkg, model)["textual"], mask)
