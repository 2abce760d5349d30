"""The step: a published graph in, a published bundle out, metrics in MLflow, nothing left over."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.refit import with_development
from mmkgc.components.train.train import train
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.parts import OK, Row
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import Entity, FeatureWriter

SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "complex", "fusion": "structure"},
    "loss": "cross-entropy",
    "optimizer": {"lr": 0.05},
    "epochs": 4,
    "evaluate_every": 2,
    "checkpoint_seconds": 0,
}


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


def test_a_modality_that_no_entity_has_is_left_out_and_told(
    graph: Stored,
    toy_mmkg: MMKG,
    storage: Storage,
    mmkgc_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    encoder = {"encoder": "sbert", "weights": "w", "seed": 0, "output": "pooled", "dimension": 3}
    keys, vector = toy_mmkg.graph.entities.keys, np.ones(3, np.float32)
    uris = {}
    for modality, with_content in (("textual", 2), ("visual", 0)):
        writer = FeatureWriter(FeatureSpec(modality, encoder, "float32"), storage)
        contents = [f"c{number}" if number < with_content else None for number in range(len(keys))]
        writer.add(Row(key, content, vector, 1, OK) for key, content in zip(keys, contents, strict=True) if content)
        uris[modality] = writer.commit([Entity(*pair) for pair in zip(keys, contents, strict=True)]).uri
    config = TrainConfig(**SETTINGS | {"model": SETTINGS["model"] | {"fusion": "sum"}, "epochs": 1})
    bundle = Bundle.load(storage.fetch(train(graph.uri, uris, config, storage, tmp_path / "scratch").uri))
    assert tuple(bundle.model.entities.modalities) == ("structure", "textual")
    assert "train leaves out the visual features: no entity has one" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_publish_one_bundle_and_log_one_run(
    graph: Stored, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    """Against all entities nothing is drawn, so two processes must publish what one does, up to rounding."""
    settings = SETTINGS | {"optimizer": {"name": "sgd", "lr": 1.0}}
    alone = Path(train(graph.uri, {}, TrainConfig(**settings), storage, tmp_path / "scratch").uri)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"train": settings}))
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MMKGC_STORAGE": storage.root}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "mmkgc.components.train", graph.uri, str(recipe)]
    told = subprocess.run(
        command, check=True, env=os.environ | environment, timeout=200, capture_output=True, text=True
    )
    first, second = (line for line in told.stdout.splitlines() if "/bundles/" in line)
    assert first == second

    files = [sorted(path.name for path in Path(uri).iterdir()) for uri in (str(alone), first)]
    assert files[0] == files[1]
    ours, theirs = (Bundle.load(Path(uri)).model.state_dict() for uri in (str(alone), first))
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], atol=1e-5, rtol=1e-4)
    group_consecutive = tracking.client().search_runs([tracking.experiment_id("mmkgc")])
    assert [run.info.status for run in group_consecutive] == ["FINISHED", "FINISHED"]  # one alone, one of both
    assert group_consecutive[0].data.tags["bundle"] == first


def test_a_refitted_model_was_trained_on_the_development_triples_too(
    graph: Stored, toy_mmkg: MMKG, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    """The same epochs on a graph whose train split has the development triples from the beginning."""
    config = TrainConfig(**SETTINGS | {"refit": True})
    bundle = Bundle.load(storage.fetch(train(graph.uri, {}, config, storage, tmp_path / "scratch").uri))
    chosen = bundle.provenance["best_epoch"]
    everything = with_development(toy_mmkg.graph)
    assert len(everything.train) == len(toy_mmkg.graph.train) + len(toy_mmkg.graph.valid)
    assert torch.equal(bundle.train, everything.train)
    alone = TrainConfig(**SETTINGS | {"epochs": chosen, "keep": "last"})
    expected = Trainer(everything, {}, alone).fit().state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in bundle.model.state_dict().items())
    assert bundle.calibration is not None
    assert not list((tmp_path / "scratch").rglob("*.pt"))
    at_once = TrainConfig(**SETTINGS | {"refit": chosen})
    same = Bundle.load(storage.fetch(train(graph.uri, {}, at_once, storage, tmp_path / "scratch").uri))
    assert all(torch.equal(expected[name], tensor) for name, tensor in same.model.state_dict().items())
    assert torch.equal(same.train, everything.train)
    assert same.provenance["epochs"] == chosen
    assert same.calibration is None  # no development triples are left to fit it on
