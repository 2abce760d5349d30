"""The settings that `mmkgc init` advises can be run."""

from mmkgc.components.ingest.ingest import IngestConfig, build
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import config
from mmkgc.pipeline.advice import MANY, advise


def test_settings_for_a_large_graph_train(write_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    folder = str(write_dataset(tmp_path / "places"))
    counts = {"entities": 100_001, "train": MANY // 100_000, "with_number": 0, "with_image": 100_001}
    advice = advise(counts)
    assert any("100,001 entities and 100,000 triples" in reason for reason in advice.reasons)
    recipe = config.load(folder, [*advice.settings, "train.epochs=30"])
    assert recipe.train.negatives["name"] == "shared"
    losses: list[float] = []
    graph = build(folder, IngestConfig(), open_storage()).graph
    Trainer(graph, {}, recipe.train).fit(lambda epoch, metrics: losses.append(metrics["loss"]))
    assert losses[-1] < losses[0]


def test_a_small_graph_needs_no_settings():
    assert advise({"entities": 12_842, "train": 79_222, "with_number": 0, "with_image": 10}).settings == []
