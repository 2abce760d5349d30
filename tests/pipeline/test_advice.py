"""The settings that `mmkgc init` advises can be run."""

import pytest

from mmkgc.components.ingest.ingest import IngestConfig, build
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import config
from mmkgc.pipeline.advice import MANY, advise


def test_settings_for_a_large_graph_train(write_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    folder = str(write_dataset(tmp_path / "places"))
    counts = {"entities": 100_001, "train": MANY // 100_000, "with_number": 0, "with_image": 100_001}
    advice = advise(counts | {"with_description": 100_001}, ())
    assert any("100,001 entities and 100,000 triples" in reason for reason in advice.reasons)
    recipe = config.load(folder, [*advice.settings, "train.epochs=30"])
    assert recipe.train.optimizer.name == "row-adagrad"
    assert recipe.train.caution() is None
    losses: list[float] = []
    graph = build(folder, IngestConfig(), open_storage()).graph
    Trainer(graph, {}, recipe.train).fit(lambda epoch, metrics: losses.append(metrics["loss"]))
    assert losses[-1] < losses[0]


def test_a_small_graph_needs_no_settings():
    counts = {"entities": 12_842, "train": 79_222, "with_number": 0, "with_image": 10, "with_description": 10}
    assert advise(counts, ()).settings == []


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["/m/027rn", "/m/0h7_sc", "/m/02_abc"], False),
        (["01245113", "00033615"], False),
        (["Q64", "Q1055"], False),
        (["Norway", "Sweden"], True),
        (["AC/DC", "2001: A Space Odyssey"], True),
        (["東京都", "大阪府"], True),
    ],
)
def test_names_that_are_ids_need_no_text_encoder(names: list[str], told: bool):
    counts = {"entities": len(names), "train": 10, "with_number": 0, "with_image": 1, "with_description": 0}
    assert ("extract.textual=null" not in advise(counts, names).settings) is told
    assert advise(counts | {"with_description": 1}, names).settings == []
