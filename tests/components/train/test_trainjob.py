"""The train step on several machines: the SDK runs the job as processes, and it is followed to its bundle."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainjob import Trainer, of_cluster, train_on_nodes
from mmkgc.feature_store.storage import Storage, Stored

SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "complex", "fusion": "structure"},
    "loss": "cross-entropy",
    "optimizer": {"lr": 0.05},
    "epochs": 2,
    "evaluate_every": 2,
    "nodes": 2,
    "node_resources": {"cpu": "4", "memory": "8Gi"},
}


@pytest.mark.slow
def test_the_local_backend_runs_the_same_job_as_processes(
    toy_mmkg: MMKG,
    storage: Storage,
    graph: Stored,
    mmkgc_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from kubeflow.trainer import LocalProcessBackendConfig, TrainerClient
    from kubeflow.trainer.backends.localprocess import constants

    monkeypatch.setattr(constants, "TORCH_COMMAND", str(Path(sys.executable).with_name("torchrun")))  # installed here
    settings = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
        "MMKGC_STORAGE": storage.root, "MMKGC_HOME": str(mmkgc_home), "OMP_NUM_THREADS": "1",
        "PET_NPROC_PER_NODE": "2", "PET_STANDALONE": "1",
    }  # fmt: skip
    monkeypatch.setattr("mmkgc.components.train.trainjob.WRITABLE", settings)
    client = TrainerClient(LocalProcessBackendConfig())
    config = TrainConfig.model_validate(SETTINGS)
    stored = train_on_nodes(graph.uri, {}, config, storage, None, Trainer(client))
    assert Bundle.load(storage.fetch(stored.uri)).entities == toy_mmkg.graph.entities
    assert "train needs about" in capfd.readouterr().out


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(
        UserError, match="several machines need a cluster, and this run has none — start it by `mmkgc sub"
    ):
        of_cluster()
