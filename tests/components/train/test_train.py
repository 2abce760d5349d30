"""The step: a published graph in, a published bundle out, metrics in MLflow, nothing left over."""

from pathlib import Path
from typing import Any

import pytest

from components.ingest.mmkg import MMKG
from components.kge.bundle import Bundle
from components.runtime import tracking
from components.runtime.errors import UserError
from components.train.config import TrainConfig
from components.train.train import train
from feature_store.storage import Storage, Stored, open_storage

SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "complex", "fusion": "structure"},
    "objective": "cross-entropy",
    "optimizer": {"lr": 0.05},
    "epochs": 4,
    "evaluate_every": 2,
    "checkpoint_seconds": 0,
}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "store"))


@pytest.fixture
def graph(toy_mmkg: MMKG, storage: Storage, tmp_path: Path) -> Stored:
    toy_mmkg.save(tmp_path / "graph")
    return storage.publish(tmp_path / "graph", "graphs")


def test_a_bundle_is_published_and_its_metrics_are_logged(
    graph: Stored, toy_mmkg: MMKG, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    config = TrainConfig(**SETTINGS)
    stored = train(graph.uri, {}, config, storage, tmp_path / "scratch")
    bundle = Bundle.load(storage.fetch(stored.uri))
    assert bundle.entities == toy_mmkg.graph.entities
    assert bundle.config == config.model_dump(mode="json")
    assert bundle.provenance["made_from"] == {"graph": graph.digest, "features": {}}
    assert bundle.provenance["best_epoch"] in (2, 4)
    assert bundle.provenance["epochs"] == 4
    assert not list((tmp_path / "scratch").rglob("*.pt"))

    api = tracking.client()
    (run,) = api.search_runs([tracking.experiment_id("mmkgc")])
    assert run.info.status == "FINISHED"
    assert run.data.params["model.interaction.name"] == "complex"
    assert [metric.step for metric in api.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3, 4]
    assert [metric.step for metric in api.get_metric_history(run.info.run_id, "dev_mrr")] == [2, 4]

    again = train(graph.uri, {}, config, storage, tmp_path / "elsewhere")
    assert again == stored


def test_what_the_graph_lacks_is_refused_and_nothing_is_written(
    graph: Stored, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    config = TrainConfig(model={"fusion": "ikrl"})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs visual features; extract them too"):
        train(graph.uri, {}, config, storage, tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    assert not (tmp_path / "store" / "bundles").exists()
